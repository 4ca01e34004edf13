"""robomimic's and LIBERO's HDF5: ``data/demo_0/{actions, states, obs/..., rewards, dones}``.

Every data set and attribute of a demonstration is kept, and written back under its own name and
type. Images become camera frames (``agentview_rgb`` is ``front``, ``eye_in_hand_rgb`` ``wrist``),
``states`` the observation ``simulator_state``, other arrays of T rows observations of their own
name; what does not fit in an episode is named in the notes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from robo.data.formats.common import (
    REPEATED,
    Note,
    Notes,
    describe,
    has_final_state,
    pack,
    padded,
    restore,
    unpack,
)
from robo.errors import MissingExtraError, StoreError
from robo.rollout import Episode, EpisodeInfo

ROLES = {"agentview": "front", "eye_in_hand": "wrist", "robot0_eye_in_hand": "wrist"}
"""Names of robosuite's cameras to camera roles; other cameras keep their names."""
SIMULATOR_STATE = "simulator_state"
_SUFFIXES = ("_rgb", "_image")
_PER_STEP = "per_step/"
"""Prefix of observations that the file holds per step outside of ``obs``."""
_OURS = "robo"


def h5py() -> Any:
    """The library.

    Raises:
        MissingExtraError: where it is not installed.
    """
    try:
        import h5py as library
    except ModuleNotFoundError as error:
        raise MissingExtraError('HDF5 files need h5py; run `pip install -e ".[data]"`') from error
    return library


class Hdf5Import:
    """The demonstrations of one file, read one at a time."""

    def __init__(self, path: Path, flip: bool = False) -> None:
        """Look at the file.

        Args:
            path: of the file.
            flip: turn images upside up: robosuite's off-screen images, LIBERO's among them, are
                stored upside down. Export turns them back.

        Raises:
            MissingExtraError: without h5py.
            StoreError: where the file cannot be read, or has no demonstrations.
        """
        self.path, self.flip = path, flip
        self.notes = Notes()
        try:
            with h5py().File(path) as file:
                data = file["data"]
                self.names = sorted((name for name in data if "actions" in data[name]), key=_number)
                self._attributes = _attributes(data)
        except (OSError, KeyError, ValueError) as error:
            raise StoreError(
                f"{path} is no HDF5 file of demonstrations ({error}): expected data/demo_0/actions"
            ) from error
        if not self.names:
            raise StoreError(f"{path} holds no demonstrations: expected data/demo_0/actions")

    def __len__(self) -> int:
        """Number of demonstrations."""
        return len(self.names)

    def __iter__(self) -> Iterator[Episode]:
        """The episodes, in order.

        Raises:
            StoreError: naming a demonstration that cannot be read.
        """
        with h5py().File(self.path) as file:
            for name in self.names:
                try:
                    yield self._episode(name, file["data"][name])
                except (OSError, KeyError, ValueError) as error:
                    raise StoreError(f"{name} of {self.path} cannot be read: {error}") from error

    def _episode(self, name: str, group: Any) -> Episode:
        actions = np.array(group["actions"])
        steps = len(actions)
        attributes = _attributes(group)
        own = None
        if _OURS in group:
            own = group[_OURS]["episode"].asstr()[()]
        layout: dict[str, Any] = {"flip": self.flip, "order": list(group)}
        observation, frames = self._observations(name, group, steps, layout)
        reward = np.zeros(steps, np.float32)
        if "rewards" in group:
            given = np.array(group["rewards"])
            layout["rewards"] = given.dtype.name
            reward = given.astype(np.float32)
            if not np.array_equal(reward.astype(given.dtype), given):
                observation[f"{_PER_STEP}rewards"] = padded(given)
                self.notes.add("rewards", "finer than float32: kept in full as an observation")
        if own is not None:
            return self._restored(own, group, actions, reward, observation, frames)
        success = bool(reward[-1] > 0) or bool(np.any(group.get("dones", [0])))
        problem = _json(self._attributes.get("problem_info"))
        instruction = problem.get("language_instruction", "")
        environment = _json(self._attributes.get("env_args")).get("env_name", "")
        environment = environment or str(self._attributes.get("env", ""))
        count = steps + 1
        return Episode(
            info=EpisodeInfo(
                _task(self.path, environment, self._attributes),
                " ".join(instruction) if isinstance(instruction, list) else str(instruction),
            ),
            observation=observation,
            action=actions,
            reward=reward,
            success=success,
            terminated=success,
            frames=frames,
            frame_step=np.arange(count) if frames else None,
            metadata={
                "kind": "demonstration",
                "recording": f"{self.path.name} {name}",
                **({} if layout["final"] else {"final_state": REPEATED}),
                "hdf5": {
                    **layout,
                    "attributes": attributes,
                    "data_attributes": self._attributes,
                },
            },
        )

    def _observations(
        self, name: str, group: Any, steps: int, layout: dict[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Observations and frames of all states; ``layout`` gets what names and places they had."""
        following = group.get("next_obs", {})
        ours = group.get(_OURS, {})
        obs = {}
        for key, value in group.get("obs", {}).items():
            if hasattr(value, "dtype"):
                obs[key] = np.array(value)
            else:
                self.notes.add(f"obs/{key}", "a group, not an array: left out")
        final = {key: np.array(value)[-1] for key, value in following.items()}
        final.update({key: np.array(value) for key, value in ours.get("final", {}).items()})
        if ours:  # whose frames lie in our own group
            obs = {key: rows for key, rows in obs.items() if key in ours["episode"].attrs["keys"]}
        whole = bool(obs) and set(obs) <= set(final)
        layout["final"] = whole
        layout["next_obs"] = sorted(following)
        layout["images"] = {}
        observation: dict[str, np.ndarray] = {}
        frames: dict[str, np.ndarray] = {}
        for key, rows in obs.items():
            if len(rows) != steps:
                self.notes.add(f"obs/{key}", f"{len(rows)} rows for {steps} steps: left out")
                continue
            states = np.concatenate([rows, final[key][None]]) if whole else padded(rows)
            if not ours and rows.dtype == np.uint8 and rows.ndim == 4 and rows.shape[3] == 3:
                role = self._role(key, frames)
                layout["images"][role] = key
                frames[role] = np.ascontiguousarray(states[:, ::-1]) if self.flip else states
            else:
                observation[unquote(key) if ours else key] = states
            if key in following and not np.array_equal(np.array(following[key])[:-1], rows[1:]):
                observation[f"{_PER_STEP}next_obs/{key}"] = padded(np.array(following[key]))
        for key in group:
            if key in ("actions", "obs", "next_obs", "rewards", _OURS):
                continue
            rows = group[key]
            usable = hasattr(rows, "dtype") and rows.dtype.kind in "biuf" and rows.ndim >= 1
            if usable and rows.shape[0] == steps:
                place = SIMULATOR_STATE if key == "states" else f"{_PER_STEP}{key}"
                last = ours.get(SIMULATOR_STATE) if key == "states" else None
                states = padded(np.array(rows))
                if last is not None:
                    states[-1] = last
                observation[place] = states
            else:
                self.notes.add(f"{name}/{key}", "not an array of one row per step: left out")
        return observation, frames

    @staticmethod
    def _role(key: str, taken: dict[str, Any]) -> str:
        stem = key
        for suffix in _SUFFIXES:
            stem = stem.removesuffix(suffix)
        role = ROLES.get(stem, stem)
        return key if role in taken else role

    def _restored(
        self,
        own: str,
        group: Any,
        actions: np.ndarray,
        reward: np.ndarray,
        observation: dict[str, np.ndarray],
        frames: dict[str, np.ndarray],
    ) -> Episode:
        """An episode that robo exported: everything comes back."""
        ours, values = group[_OURS], json.loads(own)
        names = values.pop("signal_names")
        step = np.array(ours["frame_step"]) if "frame_step" in ours else None
        if step is not None:
            frames = {role: np.array(ours["frames"][role]) for role in ours["frames"]}
        else:
            frames = {}
        signals = {name: np.array(ours["signals"][:, i]) for i, name in enumerate(names)}
        order, roles = values.pop("observation"), values.pop("roles")
        return Episode(
            **restore(values),
            observation={key: observation[key] for key in order},
            action=actions,
            reward=reward,
            signals=signals,
            frames={role: frames[role] for role in roles},
            frame_step=step if frames else None,
        )


def export_hdf5(episodes: Iterable[Episode], path: Path) -> list[Note]:
    """Write episodes as a file of demonstrations; what it cannot hold as others read it.

    Episodes that came from such a file are written as they were. Others get the same layout, and a
    group ``robo`` beside it with what the layout has no place for, so that :class:`Hdf5Import`
    gives every number back.

    Raises:
        MissingExtraError: without h5py.
        StoreError: where the file exists or cannot be written.
    """
    notes, total = Notes(), 0
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
                name = f"demo_{number}"
                if came:
                    name = str(episode.metadata["recording"]).rpartition(" ")[2]
                    name = name if name not in data else f"demo_{number}"
                group = data.create_group(name, track_order=False)
                if came:
                    _write_back(group, episode, came)
                    if number == 0:
                        _set_attributes(data, came["data_attributes"])
                else:
                    _write_ours(group, episode, notes)
                total += len(episode)
            if "total" not in data.attrs:
                data.attrs["total"] = total
        temporary.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error}; nothing was left there") from error
    finally:
        temporary.unlink(missing_ok=True)
    return notes.list()


def _write_back(group: Any, episode: Episode, came: dict[str, Any]) -> None:
    """The demonstration as it was in the file that it came from."""
    steps, following = len(episode), came["next_obs"]
    group["actions"] = np.asarray(episode.action)
    if "rewards" in came:
        full = episode.observation.get(f"{_PER_STEP}rewards")
        reward = np.asarray(episode.reward) if full is None else full[:steps]
        group["rewards"] = reward.astype(came["rewards"])
    states = {
        key: value
        for key, value in episode.observation.items()
        if key != SIMULATOR_STATE and not key.startswith(_PER_STEP)
    }
    for role, key in came["images"].items():
        images = np.asarray(episode.frames[role])
        states[key] = images[:, ::-1] if came["flip"] else images
    for key, rows in states.items():
        group[f"obs/{key}"] = rows[:steps]
        if key in following:
            own = episode.observation.get(f"{_PER_STEP}next_obs/{key}")
            group[f"next_obs/{key}"] = rows[1:] if own is None else own[:steps]
    if SIMULATOR_STATE in episode.observation:
        group["states"] = episode.observation[SIMULATOR_STATE][:steps]
    for key, rows in episode.observation.items():
        name = key.removeprefix(_PER_STEP)
        if key.startswith(_PER_STEP) and name != "rewards" and not name.startswith("next_obs/"):
            group[name] = rows[:steps]
    _set_attributes(group, came["attributes"])


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
            group[f"{_OURS}/{SIMULATOR_STATE}"] = rows[-1]
            continue
        name = quote(key, safe=" ")
        group[f"obs/{name}"] = rows[:steps]
        if final:
            group[f"{_OURS}/final/{name}"] = rows[-1]
    ours = group.require_group(_OURS)
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


def _attributes(group: Any) -> dict[str, Any]:
    """Attributes as JSON values that :func:`_set_attributes` writes back with their types."""
    found = {}
    for name, value in group.attrs.items():
        if isinstance(value, bytes):
            found[name] = {"bytes": value.decode("latin-1")}
        elif isinstance(value, str):
            found[name] = pack(value)
        elif isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
            found[name] = {"dtype": value.dtype.str, "value": value.tolist()}
        else:
            found[name] = str(value)
    return found


def _set_attributes(group: Any, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        value = unpack(value)
        if isinstance(value, dict) and "bytes" in value:
            value = np.bytes_(value["bytes"].encode("latin-1"))
        elif isinstance(value, dict):
            value = np.array(value["value"], dtype=value["dtype"])[()]
        group.attrs[name] = value


def _json(value: Any) -> dict[str, Any]:
    try:
        loaded = json.loads(unpack(value))
    except (TypeError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _number(name: str) -> tuple[int, str]:
    digits = name.rpartition("_")[2]
    return (int(digits) if digits.isdigit() else -1), name


def _task(path: Path, environment: str, attributes: dict[str, Any]) -> str:
    """A task id: robosuite's environment, or LIBERO's problem file."""
    problem = str(attributes.get("bddl_file_name", ""))
    if problem:
        return f"libero/{Path(problem).stem}"
    return f"robosuite/{environment}" if environment else f"hdf5/{path.stem}"
