"""HDF5 of robomimic and LIBERO, written: the same file again, or robo's own episodes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from robo.data.formats.common import Note, Notes, describe, has_final_state
from robo.data.formats.hdf5_layout import (
    COUNTS,
    OURS,
    PER_STEP,
    SIMULATOR_STATE,
    h5py,
    set_attributes,
)
from robo.errors import StoreError
from robo.rollout import Episode


def export_hdf5(episodes: Iterable[Episode], path: Path) -> list[Note]:
    """Write episodes as a file of demonstrations; what it cannot hold as others read it.

    Episodes that came from such a file are written as they were. Others get the same layout, and a
    group ``robo`` beside it with what the layout has no place for, so that :class:`Hdf5Import`
    gives every number back.

    Raises:
        MissingExtraError: without h5py.
        StoreError: where the file exists or cannot be written.
    """
    notes, total, demos = Notes(), 0, 0
    attributes: dict[str, Any] = {}
    library = h5py()
    if path.exists():
        raise StoreError(f"{path} exists; name a new file")
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with library.File(temporary, "w") as file:
            data = file.create_group("data")
            for number, episode in enumerate(episodes):
                came = episode.metadata.get("hdf5")
                name = _free_name(data, number, episode, notes)
                group = data.create_group(name, track_order=False)
                if came:
                    _write_back(group, episode, came)
                    _merge(attributes, came["data_attributes"], notes)
                else:
                    _write_ours(group, episode, notes)
                total, demos = total + len(episode), number + 1
            set_attributes(data, attributes)
            _count(data, total, demos)
        temporary.replace(path)
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot write {path}: {error}; nothing was left there") from error
    finally:
        temporary.unlink(missing_ok=True)
    return notes.list()


def _free_name(data: Any, number: int, episode: Episode, notes: Notes) -> str:
    """The name that the demonstration had, or the next ``demo_N`` that is free."""
    came = episode.metadata.get("hdf5")
    if came:
        wanted = came.get("name") or str(episode.metadata["recording"]).rpartition(" ")[2]
        if wanted not in data:
            return wanted
        notes.add("names of demonstrations", "several have one name: those that follow are renamed")
    return next(name for i in itertools.count(number) if (name := f"demo_{i}") not in data)


def _merge(kept: dict[str, Any], given: dict[str, Any], notes: Notes) -> None:
    """Attributes of ``data``: those of the first file that had them."""
    for name, value in given.items():
        if kept.setdefault(name, value) != value and name not in COUNTS:
            notes.add(f"data@{name}", "differs between the files they came from: the first is kept")


def _count(data: Any, total: int, demos: int) -> None:
    """Attributes of ``data`` that count: of what was written, in the type that they had."""
    for name, value in (("total", total), ("num_demos", demos)):
        if name in data.attrs:
            data.attrs[name] = np.asarray(data.attrs[name]).dtype.type(value)
        elif name == "total":
            data.attrs[name] = value


def _write_back(group: Any, episode: Episode, came: dict[str, Any]) -> None:
    """The demonstration as it was in the file that it came from."""
    steps, following = len(episode), came["next_obs"]
    group["actions"] = np.asarray(episode.action)
    if "rewards" in came:
        full = episode.observation.get(f"{PER_STEP}rewards")
        reward = np.asarray(episode.reward) if full is None else full[:steps]
        group["rewards"] = reward.astype(came["rewards"])
    states = {
        key: value
        for key, value in episode.observation.items()
        if key != SIMULATOR_STATE and not key.startswith(PER_STEP)
    }
    for role, key in came["images"].items():
        images = np.asarray(episode.frames[role])
        states[key] = images[:, ::-1] if came["flip"] else images
    for key, rows in states.items():
        group[f"obs/{key}"] = rows[:steps]
        if key in following:
            own = episode.observation.get(f"{PER_STEP}next_obs/{key}")
            group[f"next_obs/{key}"] = rows[1:] if own is None else own[:steps]
    if SIMULATOR_STATE in episode.observation:
        group["states"] = episode.observation[SIMULATOR_STATE][:steps]
    for key, rows in episode.observation.items():
        name = key.removeprefix(PER_STEP)
        if key.startswith(PER_STEP) and name != "rewards" and not name.startswith("next_obs/"):
            group[name] = rows[:steps]
    set_attributes(group, came["attributes"])


def _write_ours(group: Any, episode: Episode, notes: Notes) -> None:
    """The demonstration in robomimic's layout, and the rest in the group ``robo``."""
    steps, final = len(episode), has_final_state(episode)
    group["actions"] = np.asarray(episode.action)
    group["rewards"] = np.asarray(episode.reward)
    dones = np.zeros(steps, np.uint8)
    dones[-1] = 1
    group["dones"] = dones
    for key, rows in episode.observation.items():
        if key == SIMULATOR_STATE:
            group["states"] = rows[:steps]
            group[f"{OURS}/{SIMULATOR_STATE}"] = rows[-1]
            continue
        name = quote(key, safe=" ")
        group[f"obs/{name}"] = rows[:steps]
        if final:
            group[f"{OURS}/final/{name}"] = rows[-1]
    ours = group.require_group(OURS)
    ours["signals"] = np.stack(list(episode.signals.values()) or [np.zeros(0)], axis=-1)
    if episode.frames:
        step = np.asarray(episode.frame_step)
        held = np.searchsorted(step, np.arange(steps), side="right") - 1
        if step[0] > 0:
            notes.add("frames", "the first states have none: the first frame stands in for them")
        if len(step) < steps + 1:
            notes.add("frames", "not of every state: other readers see the last one held")
        for role, images in episode.frames.items():
            group[f"obs/{role}_image"] = np.asarray(images)[np.maximum(held, 0)]
            ours[f"frames/{role}"] = np.asarray(images)
        ours["frame_step"] = step
    if final:
        notes.add("last states", "the layout has none: in the group robo, for robo alone")
    if episode.signals or episode.keyframes:
        notes.add("signals, keyframes", "the layout has none: in the group robo, for robo alone")
    values = {
        **describe(episode),
        "signal_names": list(episode.signals),
        "observation": list(episode.observation),
        "roles": list(episode.frames),
    }
    group.attrs["num_samples"] = steps
    text = ours.create_dataset("episode", data=json.dumps(values))
    keys = [key for key in episode.observation if key != SIMULATOR_STATE]
    text.attrs["keys"] = [quote(key, safe=" ") for key in keys]
