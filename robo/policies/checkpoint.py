"""Checkpoints of a whole training run: atomic, checked when read, the last few kept.

A file is torch's zip format, read with ``weights_only=True`` (no code runs on loading) after the
zip's own checksums have been verified. Arrays become tensors on the way in and arrays again on
the way out, so that parts may keep their state in either.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robo.errors import CheckpointError
from robo.policies.policy import Policy
from robo.policies.policy_files import load_policy
from robo.policies.run_folder import find_policy
from robo.storage import plain, write_bytes

FORMAT = 2
"""Version of the file's layout."""
ARRAY = "__numpy__"


def pack(value: Any) -> Any:
    """``value`` with numpy arrays and scalars as what ``weights_only=True`` can read.

    Raises:
        TypeError: for a kind that a checkpoint cannot hold; keep tensors, arrays, numbers,
            text, dicts, lists and tuples in a state.
    """
    if isinstance(value, np.ndarray):
        return {ARRAY: torch.from_numpy(np.array(value, order="C"))}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        return {key: pack(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(pack(item) for item in value)
    if isinstance(value, list):
        return [pack(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}; keep tensors and numbers")


def unpack(value: Any) -> Any:
    """The inverse of :func:`pack`."""
    if isinstance(value, dict):
        if set(value) == {ARRAY}:
            return value[ARRAY].numpy()
        return {key: unpack(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(unpack(item) for item in value)
    if isinstance(value, list):
        return [unpack(item) for item in value]
    return value


def differences(saved: Any, wanted: Any, name: str = "") -> list[str]:
    """Names and both values of the entries in which two JSON values differ."""
    if isinstance(saved, dict) and isinstance(wanted, dict):
        found = []
        for key in [*saved, *(key for key in wanted if key not in saved)]:
            inner = f"{name}.{key}" if name else str(key)
            found += differences(saved.get(key), wanted.get(key), inner)
        return found
    return [] if saved == wanted else [f"{name} {saved!r} (checkpoint) against {wanted!r} (now)"]


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where ``checkpoint-<iteration>.pt`` files lie.
        configuration: what must be equal for a checkpoint to be continued (dataclass or dict).
        keep: how many of the newest stay.
    """

    def __init__(self, folder: Path, configuration: Any = None, keep: int = 3) -> None:
        """See the class."""
        self.folder = Path(folder)
        self.configuration = plain(configuration)
        self.keep = max(1, keep)

    def paths(self) -> list[Path]:
        """Checkpoint files, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(
            path for path in self.folder.iterdir() if re.fullmatch(r"checkpoint-\d+\.pt", path.name)
        )

    def save(self, state: dict[str, Any], iteration: int) -> Path:
        """Write one checkpoint, then drop those older than the last ``keep``.

        Raises:
            RoboError: full disk; earlier checkpoints stay.
        """
        buffer = io.BytesIO()
        content = {"format": FORMAT, "configuration": self.configuration, "state": pack(state)}
        torch.save(content, buffer)
        path = write_bytes(self.folder / f"checkpoint-{iteration:08d}.pt", buffer.getvalue())
        for old in self.paths()[: -self.keep]:
            with suppress(OSError):
                old.unlink()
        return path

    def latest(self) -> dict[str, Any]:
        """State of the newest readable checkpoint; a damaged one is passed over with a warning.

        Raises:
            CheckpointError: no checkpoint, none readable, or one of another configuration.
        """
        paths = self.paths()
        if not paths:
            raise CheckpointError(
                f"{self.folder} holds no checkpoint; start the run without --resume first"
            )
        damage: list[str] = []
        for path in reversed(paths):
            try:
                content = read(path)
            except CheckpointError as error:
                damage.append(str(error))
                continue
            for sentence in damage:
                warnings.warn(f"{sentence}; going on from {path.name}", stacklevel=2)
            changed = differences(content["configuration"], self.configuration)
            if changed:
                raise CheckpointError(
                    f"checkpoint {path} was written with another configuration: "
                    f"{'; '.join(changed[:4])}; resume with its configuration or choose another "
                    "--out"
                )
            return content["state"]
        raise CheckpointError(
            f"none of the {len(paths)} checkpoints in {self.folder} can be read (the newest: "
            f"{damage[0]}); start again with another --out"
        )


def read(path: Path) -> dict[str, Any]:
    """``configuration`` and ``state`` of one checkpoint file.

    Raises:
        CheckpointError: missing, damaged, or of another format.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"checksum of {damaged} is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, expected {FORMAT}")
        return {"configuration": content["configuration"], "state": unpack(content["state"])}
    except Exception as error:
        # Damage shows as any of a dozen exceptions of zipfile, pickle and torch.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"checkpoint {path} is damaged or unreadable ({reason})") from error


def save_policy(actor_critic: Policy, folder: Path) -> Path:
    """Save the policy to ``folder``, over an earlier one of the same run.

    Each file is replaced in one step and the description is the same throughout a run, so a kill
    leaves the earlier policy or this one.

    Raises:
        RoboError: full disk; the folder's earlier policy stays.
    """
    actor_critic.save(folder)
    return Path(folder)


def start_from(actor_critic: Policy, folder: Path) -> None:
    """Copy the parameters of a saved policy into ``actor_critic``.

    The critic is copied where it has the same inputs: a cloned policy has not seen the critic
    features of a reward, and its critic is not trained anyway.

    Raises:
        RoboError: no policy in the folder.
        CheckpointError: a policy of another shape.
    """
    saved = load_policy(find_policy(folder)).state_dict()
    own = actor_critic.state_dict()
    for name in [*own, *(name for name in saved if name not in own)]:
        here = tuple(own[name].shape) if name in own else None
        there = tuple(saved[name].shape) if name in saved else None
        of_critic = any(part.startswith("critic") for part in name.split("."))
        if here != there and not of_critic:
            raise CheckpointError(
                f"the policy in {folder} has {name} of shape {there}, expected {here}; start from "
                "a policy of the same task and network"
            )
    fitting = {
        name: value
        for name, value in saved.items()
        if name in own and value.shape == own[name].shape
    }
    actor_critic.load_state_dict({**own, **fitting})
