"""Human demonstrations of Lift that robosuite 1.4 carries, as episodes.

Three of them, recorded by robosuite's authors at 20 Hz. The file holds the model, simulator states
and actions; here the states are shown again one by one, so that any camera can be rendered.
Nothing is simulated: replayed actions would drift from the recorded states.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robo.errors import MissingExtraError, RoboError
from robo.rollout import CameraSchedule, Episode, EpisodeInfo
from robo.sim.mujoco.rendering import Profile
from robo.sim.robosuite.compatibility import prepare
from robo.sim.robosuite.manipulation import ManipulationEnvironment
from robo.sim.robosuite.options import RobosuiteOptions

TASK = "robosuite/Lift"
"""The one single-arm task whose recordings are complete (that of Wipe is of an older format)."""
_FILE = Path("demonstrations", "lift", "demo.hdf5")
_RAISED = 0.005
"""Height above the table from which the cube counts as lifted off it, m."""


@dataclass(frozen=True)
class Recording:
    """One demonstration as robosuite stores it."""

    name: str
    """Its name in the file, "demo_1"."""
    model: str
    """MJCF of the scene; paths of its meshes are those of the machine it was recorded on."""
    states: np.ndarray
    """float64 ``[T, 1 + nq + nv]``: time, positions, velocities, before each action."""
    actions: np.ndarray
    """float64 ``[T, 7]``, of OSC_POSE with robosuite's default limits, which clips them to
    [-1, 1]: some are beyond."""


def recordings() -> list[Recording]:
    """All demonstrations of the installed robosuite, in the file's order.

    Raises:
        MissingExtraError: robosuite or h5py is not installed.
        RoboError: the installed robosuite carries none.
    """
    prepare()
    from robosuite.models import assets_root  # type: ignore[import-not-found]

    path = Path(assets_root) / _FILE
    if not path.exists():
        raise RoboError(
            "the installed robosuite carries no human demonstrations, version 1.4.0 does; run "
            '`pip install -e ".[libero]"`'
        )
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            'human demonstrations need h5py; run `pip install -e ".[libero]"`'
        ) from error
    with h5py.File(path) as file:
        group: Any = file["data"]
        return [
            Recording(
                name,
                str(group[name].attrs["model_file"]),
                np.array(group[name]["states"]),
                np.array(group[name]["actions"]),
            )
            for name in sorted(group)
        ]


def human_episodes(
    camera: CameraSchedule | None = None, profile: Profile = "fast"
) -> Iterator[Episode]:
    """The demonstrations as episodes of ``robosuite/Lift``.

    They end where the task is solved first, as episodes of the environment do; the recordings go
    on for half a second. Keyframes are read off the recording: ``grasp``, the last time that the
    fingers were told to close, and ``lift``, the cube leaving the table.

    Args:
        camera: frames to render; None renders none.
        profile: how they are rendered.

    Yields:
        Episodes of L steps and L + 1 states, successes all.

    Raises:
        RoboError: as :func:`recordings`; a view that the scene does not have.
    """
    found = recordings()
    scene = _RecordedScene(TASK, RobosuiteOptions(profile=profile))
    try:
        for recording in found:
            yield scene.episode(recording, camera)
    finally:
        scene.close()


class _RecordedScene(ManipulationEnvironment):
    """Shows recorded states in place of simulating."""

    def episode(self, recording: Recording, camera: CameraSchedule | None) -> Episode:
        """``recording`` up to its first success."""
        self.set_camera_schedule(camera)
        self._schedule = camera
        self.raw.reset_from_xml_string(self.raw.edit_model_xml(recording.model))
        states, heights, frames = [], [], []
        for step, state in enumerate(recording.states):
            self._show(state)
            states.append(self._observation()["state"])
            heights.append(float(self.raw.sim.data.body_xpos[self.raw.cube_body_id][2]))
            done = step > 0 and self._succeeded()
            frames.append(self._frames(step, last=done))
            if done:
                break
        else:
            raise RoboError(
                f"recording {recording.name} of robosuite ends without success; its file is "
                'damaged, reinstall it: `pip install --force-reinstall -e ".[libero]"`'
            )
        length = len(states) - 1
        actions = np.clip(recording.actions[:length], -1.0, 1.0).astype(np.float32)
        kept = [step for step, images in enumerate(frames) if images]
        return Episode(
            info=EpisodeInfo(self.task, self.instruction),
            observation={"state": np.stack(states)},
            action=actions,
            reward=np.eye(1, length, length - 1, dtype=np.float32)[0],
            success=True,
            terminated=True,
            frames={
                view: np.stack([frames[step][view] for step in kept])
                for view in (camera.views if camera else ())
            },
            frame_step=np.array(kept, np.int64),
            keyframes=_keyframes(actions, np.array(heights)),
            metadata={
                "kind": "demonstration",
                "actor": "human",
                "recording": f"robosuite 1.4.0 {_FILE.as_posix()} {recording.name}",
                "rendering_profile": self.profile,
            },
        )

    def _show(self, state: np.ndarray) -> None:
        self.raw.sim.set_state_from_flattened(state)
        self.raw.sim.forward()
        self._raw_observation = self.raw._get_observations()

    def _frames(self, step: int, last: bool) -> dict[str, np.ndarray]:
        schedule = self._schedule
        if schedule is None or not (last or step % schedule.stride == 0):
            return {}
        return self._current_renderer().frames(schedule.views, schedule.height, schedule.width)


def _keyframes(actions: np.ndarray, heights: np.ndarray) -> dict[str, int]:
    """State indices of ``grasp`` and ``lift``; those that do not rise strictly are left out.

    Args:
        actions: ``[L, 7]``.
        heights: of the cube, ``[L + 1]``, m.
    """
    closing = actions[:, 6] > 0
    begins = np.flatnonzero(closing[1:] & ~closing[:-1]) + 1
    grasp = int(begins[-1]) if len(begins) else 0
    # The cube falls onto the table at the start and rests there for most of the time.
    raised = grasp + np.flatnonzero(heights[grasp:] > np.median(heights) + _RAISED)
    lift = int(raised[0]) if len(raised) else 0
    frames = {"grasp": grasp, "lift": lift}
    ordered = 0 < grasp < lift < len(actions)
    return frames if ordered else {}
