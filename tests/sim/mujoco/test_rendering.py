"""Camera frames: roles, schedule, what they show, contexts, and machines without GL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robo.errors import RenderingError, RoboError
from robo.rollout import CameraSchedule
from robo.sim.mujoco.rendering import ViewRenderer
from robo.sim.mujoco.single import MujocoEnvironment
from robo.sim.mujoco.tasks import TASKS
from robo.sim.mujoco.vector import CAMERAS, MujocoVectorEnvironment

ROOT = Path(__file__).parents[3]
IDLE = np.zeros((2, 4), np.float32)


def vector(name="Lift", stride=5, size=(32, 40), views=CAMERAS, profile="fast", num_envs=2):
    env = MujocoVectorEnvironment(name, num_envs, profile=profile)
    env.set_camera_schedule(CameraSchedule(views, *size, stride))
    return env


def drawn(env: MujocoVectorEnvironment, index: int) -> list[np.ndarray]:
    """What a renderer of its own draws of the current state, per view."""
    schedule = env._schedule
    assert schedule is not None
    renderer = ViewRenderer(
        env.simulations.model, schedule.views, schedule.height, schedule.width, env.profile
    )
    images = renderer.render(*env.simulations.drawn_state(index))
    renderer.close()
    return images


@pytest.mark.parametrize("name", TASKS)
def test_every_view_shows_something_of_its_own(name):
    env = vector(name)
    rows = env.reset(seed=3)[1]["frames"]
    assert tuple(rows.views) == CAMERAS
    assert rows.env.tolist() == [0, 1] and not rows.final.any()
    for view in CAMERAS:
        assert rows.views[view].shape == (2, 32, 40, 3) and rows.views[view].dtype == np.uint8
        assert rows.views[view].std() > 5
        if view != "wrist":  # the object starts elsewhere, but not always in the hand's sight
            assert not np.array_equal(rows.views[view][0], rows.views[view][1])
    assert not np.array_equal(rows.views["front"], rows.views["side"])
    assert not np.array_equal(rows.views["front"], rows.views["wrist"])
    env.close()


def test_an_image_does_not_depend_on_the_views_beside_it():
    """Nor does the light: the headlight does not move to the first view."""
    images = []
    for views in (CAMERAS, CAMERAS[::-1], ("wrist",)):
        env = vector(views=views)
        images.append(env.reset(seed=3)[1]["frames"].views["wrist"])
        env.close()
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])


def test_images_are_upright():
    """The table fills the lower half of the front view, the sky the upper corners."""
    env = vector(size=(64, 64))
    image = env.reset(seed=3)[1]["frames"].views["front"][0].astype(int)
    warm = image[..., 0] - image[..., 2]
    assert warm[-8:].mean() > 15 > warm[:8, :8].mean()
    env.close()


def test_cameras_that_do_not_exist_are_refused():
    for env in (MujocoVectorEnvironment("Lift", 1), MujocoEnvironment("Lift")):
        with pytest.raises(RoboError, match=r"mujoco/Lift has no camera bird; it offers front"):
            env.set_camera_schedule(CameraSchedule(("front", "bird")))


def test_stride_counts_from_the_episodes_start():
    """Environment 0 solves its task at once in mid-episode: its clock starts anew."""
    env = vector("Lift", stride=4)
    env.reset(seed=3)
    elapsed = np.zeros(2, np.int64)
    for step in range(1, 30):
        if step == 10:
            env.simulations._qpos[0, 9:12] = env.simulations.tool[0]
        _, _, terminated, truncated, infos = env.step(IDLE)
        ended = terminated | truncated
        assert ended.tolist() == [step == 10, False]
        elapsed = np.where(ended, 0, elapsed + 1)
        due = np.flatnonzero(elapsed % 4 == 0).tolist()
        rows = infos.get("frames")
        if rows is None:
            assert not due
            continue
        final = rows.env[rows.final].tolist()
        assert (final, rows.env[~rows.final].tolist()) == (np.flatnonzero(ended).tolist(), due)
    env.close()


def test_the_final_frame_shows_the_end_and_the_reset_row_the_new_start():
    env = vector("Lift", stride=7)
    first = env.reset(seed=3)[1]["frames"].views
    single = MujocoEnvironment("Lift")
    single.set_camera_schedule(CameraSchedule(CAMERAS, 32, 40, 7))
    single.reset(seed=4)
    down = np.tile(np.array([0.1, 0.1, -1, 0], np.float32), (2, 1))
    for _ in range(env.max_episode_steps):
        *_, infos = env.step(down)
        _, _, _, truncated, info = single.step(down[1])
    assert truncated
    rows = infos["frames"]
    assert rows.env.tolist() == [0, 1, 0, 1]
    assert rows.final.tolist() == [True, True, False, False]
    fresh = drawn(env, 1)
    for view, image in zip(CAMERAS, fresh, strict=True):
        np.testing.assert_array_equal(rows.views[view][1], info["frames"][view])
        np.testing.assert_array_equal(rows.views[view][3], image)
        assert not np.array_equal(rows.views[view][1], rows.views[view][3])
        assert not np.array_equal(rows.views[view][3], first[view][1])
    env.close()
    single.close()


def test_no_schedule_no_frames_and_none_stops_them():
    env = MujocoVectorEnvironment("Reach", 2)
    assert "frames" not in env.reset(seed=0)[1]
    env.set_camera_schedule(CameraSchedule(("side",), 16, 16, 1))
    assert "frames" in env.reset(seed=0)[1]
    env.set_camera_schedule(None)
    assert "frames" not in env.step(IDLE)[4]
    env.close()


def test_closing_one_environment_leaves_anothers_images_unchanged():
    """Freeing a GL context while another is current corrupts the other."""
    reference = vector("Push")
    expected = reference.reset(seed=3)[1]["frames"].views
    one, two = vector("Push"), vector("Lift", size=(48, 48))
    one.reset(seed=3)
    two.reset(seed=3)
    two.close()
    reference.close()
    third = vector("Reach")
    third.reset(seed=3)
    del third  # collected, not closed
    again = one.reset(seed=3)[1]["frames"].views
    for view in CAMERAS:
        np.testing.assert_array_equal(again[view], expected[view])
    one.close()
    one.close()
    reopened = one.reset(seed=3)[1]["frames"].views["front"]
    np.testing.assert_array_equal(reopened, expected["front"])
    one.close()


def test_the_profile_is_known_and_changes_the_picture():
    images = []
    for profile in ("fast", "faithful"):
        env = vector("Push", size=(64, 64), profile=profile)
        assert env.profile == profile
        images.append(env.reset(seed=3)[1]["frames"].views["front"].astype(int))
        env.close()
    assert np.abs(images[0] - images[1]).mean() > 1


def test_render_mode_gives_the_front_view():
    env = MujocoEnvironment("Lift", render_mode="rgb_array")
    env.reset(seed=0)
    image = env.render()
    assert image is not None and image.shape == (480, 640, 3) and image.std() > 5
    env.close()


def test_a_closed_renderer_says_so():
    env = MujocoVectorEnvironment("Lift", 1)
    renderer = ViewRenderer(env.simulations.model, ("front",), 16, 16)
    renderer.close()
    with pytest.raises(RenderingError, match="was closed"):
        renderer.render(env.simulations.model.qpos0)


PROGRAM = """
import robo
from robo.errors import RenderingError
from robo.rollout import CameraSchedule
try:
    env = robo.make_vec("mujoco/Lift", 1)
    env.reset(seed=0)
    env.step([[0, 0, 0, 0]])
    print("physics")
    env.set_camera_schedule(CameraSchedule(("front",), 32, 32, 1))
    env.reset(seed=0)
    print("rendered")
except RenderingError as error:
    print("sentence:", error)
"""


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL", "MUJOCO_EGL_DEVICE_ID")
    }
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "physics"),
    [
        ({"MUJOCO_GL": "egl", "MUJOCO_EGL_DEVICE_ID": "99"}, True),
        ({"MUJOCO_GL": "glfw"}, True),
        ({"MUJOCO_GL": "disable"}, True),
        ({"MUJOCO_GL": "bogus"}, False),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_missing_gl_is_one_sentence(environment, physics):
    result = run(PROGRAM, **environment)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.strip().splitlines()
    assert ("physics" in lines) == physics
    assert lines[-1].startswith("sentence:") and "robo doctor" in lines[-1]
    assert environment["MUJOCO_GL"] in lines[-1]
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_mujoco_may_be_imported_before_robo():
    """MuJoCo then has chosen a backend that needs a screen; robo opens its own."""
    result = run("import mujoco\n" + PROGRAM)
    assert result.stdout.strip().splitlines()[-1] == "rendered", result.stdout + result.stderr


@pytest.mark.slow
def test_physics_runs_where_no_gl_library_is_installed():
    without = "import robo.sim.gl as gl; gl.LIBRARIES = {'egl': 'libAbsent.so.1'}\n"
    result = run(without + PROGRAM)
    lines = result.stdout.strip().splitlines()
    assert (result.returncode, result.stderr, lines[0]) == (0, "", "physics")
    assert lines[1].startswith("sentence:") and "libAbsent.so.1" in lines[1]


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["", "env.close()", "del env"])
def test_the_interpreter_exits_without_noise(ending, tmp_path):
    """An environment left open, closed, or collected; nothing is written anywhere."""
    program = PROGRAM.replace("except", f"    {ending}\nexcept") + "\nleft = locals().get('env')\n"
    result = run(f"import os\nos.chdir({str(tmp_path)!r})\n{program}")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split() == ["physics", "rendered"]
    assert list(tmp_path.iterdir()) == []  # no MUJOCO_LOG.TXT: our models warn of nothing
