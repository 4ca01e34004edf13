"""robomimic's and LIBERO's HDF5: ``data/demo_0/{actions, states, obs/..., rewards, dones}``.

Every data set and attribute of a demonstration is kept, and written back under its own name and
type. Images become camera frames (``agentview_rgb`` is ``front``, ``eye_in_hand_rgb`` ``wrist``),
``states`` the observation ``simulator_state``, other arrays of T rows observations of their own
name; what does not fit in an episode is named in the notes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from robo.data.formats.common import REPEATED, Notes, padded, restore, unpack
from robo.data.formats.hdf5_layout import OURS, PER_STEP, SIMULATOR_STATE, attributes_of, h5py
from robo.errors import StoreError
from robo.rollout import Episode, EpisodeInfo

ROLES = {"agentview": "front", "eye_in_hand": "wrist", "robot0_eye_in_hand": "wrist"}
"""Names of robosuite's cameras to camera roles; other cameras keep their names."""
_SUFFIXES = ("_rgb", "_image")


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
                self.names = sorted((name for name in data if _is_demo(data[name])), key=_number)
                self._attributes = attributes_of(data)
                self._name_what_is_left(file)
        except (OSError, KeyError, ValueError) as error:
            raise StoreError(
                f"{path} is no HDF5 file of demonstrations ({error}): expected data/demo_0/actions"
            ) from error
        if not self.names:
            raise StoreError(f"{path} holds no demonstrations: expected data/demo_0/actions")

    def _name_what_is_left(self, file: Any) -> None:
        """Notes for what lies beside the demonstrations."""
        for name in file:
            if name == "data":
                continue
            members = list(file[name]) if hasattr(file[name], "keys") else []
            for part in [f"{name}/{member}" for member in members] or [name]:
                self.notes.add(part, "beside the demonstrations: left out")
        for name in file.attrs:
            self.notes.add(f"@{name}", "an attribute of the whole file: left out")
        for name in sorted(set(file["data"]) - set(self.names)):
            self.notes.add(f"data/{name}", "no group with actions: left out")

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
        if not steps:
            raise ValueError("it has no steps")
        attributes = attributes_of(group)
        own = None
        if OURS in group:
            own = group[OURS]["episode"].asstr()[()]
        layout: dict[str, Any] = {"name": name, "flip": self.flip, "order": list(group)}
        observation, frames = self._observations(name, group, steps, layout)
        reward = np.zeros(steps, np.float32)
        if "rewards" in group:
            given = np.array(group["rewards"])
            layout["rewards"] = given.dtype.name
            reward = given.astype(np.float32)
            if not np.array_equal(reward.astype(given.dtype), given):
                observation[f"{PER_STEP}rewards"] = padded(given)
                self.notes.add("rewards", "finer than float32: kept in full as an observation")
        if own is not None:
            return self._restored(own, group, actions, reward, observation, frames)
        success = self._success(group, reward)
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

    def _success(self, group: Any, reward: np.ndarray) -> bool:
        """Whether the demonstration succeeded: by its last reward; ``dones`` may mark any end."""
        if "rewards" in group:
            if not np.isin(reward, (0.0, 1.0)).all():
                self.notes.add("success", "rewards are not 0 and 1: the last one above 0 counts")
            return bool(reward[-1] > 0)
        if "dones" not in group:
            self.notes.add("success", "neither rewards nor dones: taken as failed")
            return False
        self.notes.add("success", "no rewards: taken from dones, which may mark any end")
        return bool(np.any(group["dones"]))

    def _observations(
        self, name: str, group: Any, steps: int, layout: dict[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Observations and frames of all states; ``layout`` gets what names and places they had."""
        following = group.get("next_obs", {})
        ours = group.get(OURS, {})
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
                observation[f"{PER_STEP}next_obs/{key}"] = padded(np.array(following[key]))
        for key in group:
            if key in ("actions", "obs", "next_obs", "rewards", OURS):
                continue
            rows = group[key]
            usable = hasattr(rows, "dtype") and rows.dtype.kind in "biuf" and rows.ndim >= 1
            if usable and rows.shape[0] == steps:
                place = SIMULATOR_STATE if key == "states" else f"{PER_STEP}{key}"
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
        ours, values = group[OURS], json.loads(own)
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


def _json(value: Any) -> dict[str, Any]:
    try:
        loaded = json.loads(unpack(value))
    except (TypeError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _is_demo(item: Any) -> bool:
    return hasattr(item, "keys") and "actions" in item


def _number(name: str) -> tuple[int, str]:
    digits = name.rpartition("_")[2]
    return (int(digits) if digits.isdigit() else -1), name


def _task(path: Path, environment: str, attributes: dict[str, Any]) -> str:
    """A task id: robosuite's environment, or LIBERO's problem file."""
    problem = str(attributes.get("bddl_file_name", ""))
    if problem:
        return f"libero/{Path(problem).stem}"
    return f"robosuite/{environment}" if environment else f"hdf5/{path.stem}"
