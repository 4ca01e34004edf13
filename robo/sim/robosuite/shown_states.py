"""Recorded simulator states of robosuite and LIBERO, shown one by one.

HDF5 files of robosuite, robomimic and LIBERO hold, for each step, the flattened state (time,
positions, velocities) and, once per demonstration, the scene as MJCF, whose meshes and textures are
named by paths of the machine it was recorded on.
"""

from __future__ import annotations

import functools
import importlib.util
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from robo.errors import RoboError
from robo.rollout import Episode

SIMULATOR_STATE = "simulator_state"
"""Observation that holds float64 ``[L + 1, 1 + nq + nv]``."""


def can_show(task: str) -> bool:
    """Whether states of ``task`` can be shown here."""
    return task.startswith(("robosuite/", "libero/"))


class StateViewer:
    """Renders recorded states in the scene of one environment."""

    def __init__(self, env: Any) -> None:
        """``env`` is a robosuite or LIBERO environment of robo; it is closed by :meth:`close`."""
        self.env = env
        self._model: str | None = None
        env.reset(seed=0)

    def frames(
        self,
        episode: Episode,
        steps: Sequence[int] | np.ndarray,
        views: Sequence[str],
        height: int,
        width: int,
    ) -> dict[str, np.ndarray]:
        """Images of the listed states, role to uint8 ``[F, H, W, 3]``.

        Raises:
            RoboError: where the states are not those of this scene, or a view is not there.
        """
        raw = self.env.raw
        self._load(_model_of(episode))
        states = np.asarray(episode.observation[SIMULATOR_STATE])
        size = len(raw.sim.get_state().flatten())
        if states.shape[1] != size:
            raise RoboError(
                f"recorded states have {states.shape[1]} numbers, the scene of {self.env.task} has "
                f"{size}: name the task that was recorded with --render.task"
            )
        images: dict[str, list[np.ndarray]] = {view: [] for view in views}
        for step in steps:
            raw.sim.set_state_from_flattened(states[step])
            raw.sim.forward()
            shown = self.env._current_renderer().frames(tuple(views), height, width)
            for view in views:
                images[view].append(shown[view])
        return {view: np.stack(rows) for view, rows in images.items()}

    def _load(self, model: str | None) -> None:
        """Build the recorded scene, where there is one and it is another than before.

        Raises:
            RoboError: it needs a file that is not installed.
        """
        if model is None or model == self._model:
            return
        raw = self.env.raw
        libero = self.env.task.startswith("libero/")
        raw.reset_from_xml_string(found_assets(model) if libero else raw.edit_model_xml(model))
        self._model = model

    def close(self) -> None:
        """Free the scene."""
        self.env.close()


def _model_of(episode: Episode) -> str | None:
    """MJCF of the recorded scene, or None where the recording has none."""
    from robo.data.formats.common import unpack

    attributes = episode.metadata.get("hdf5", {}).get("attributes", {})
    model = unpack(attributes.get("model_file"))
    return model if isinstance(model, str) else None


def found_assets(model: str) -> str:
    """``model`` with the files of robosuite and LIBERO led to those that are installed here.

    robosuite's own ``edit_model_xml`` takes no scene with files of others in it.

    Raises:
        RoboError: naming a file that is not installed.
    """
    root = ElementTree.fromstring(model)
    for element in root.iter():
        recorded = element.get("file")
        if recorded is not None:
            element.set("file", str(_installed(recorded)))
    return ElementTree.tostring(root, encoding="unicode")


def _installed(recorded: str) -> Path:
    """The installed file of a recorded path such as ``/home/a/robosuite/models/assets/x.png``."""
    parts = PurePosixPath(recorded).parts
    for folder, package in (("robosuite", _robosuite()), ("assets", _libero_assets())):
        if package is None or folder not in parts:
            continue
        last = len(parts) - 1 - parts[::-1].index(folder)
        candidate = package.joinpath(*parts[last + 1 :])
        if candidate.exists():
            return candidate
    if Path(recorded).exists():
        return Path(recorded)
    raise RoboError(
        f"the recorded scene needs the file {recorded}, which neither the installed robosuite nor "
        "LIBERO has; install the version of LIBERO that it was recorded with"
    )


@functools.cache
def _robosuite() -> Path | None:
    spec = importlib.util.find_spec("robosuite")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


@functools.cache
def _libero_assets() -> Path | None:
    try:
        from libero.libero import get_libero_path  # type: ignore[import-not-found]

        return Path(get_libero_path("assets"))
    except (ImportError, KeyError, OSError):
        return None
