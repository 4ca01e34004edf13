"""The presets of driving in CARLA name options that its environments accept."""

from __future__ import annotations

import pytest

pytest.importorskip("carla")

import robo
from robo.errors import RoboError
from robo.policies.presets import CARL_PRESETS
from robo.rollout import CameraSchedule
from robo.sim.carla.supervisor import carla_command


@pytest.fixture
def carla_root(tmp_path) -> str:
    """A folder with CARLA's program where an unpacked release has it; nothing starts it."""
    program = tmp_path / "CarlaUE4" / "Binaries" / "Linux" / "CarlaUE4-Linux-Shipping"
    program.parent.mkdir(parents=True)
    program.touch()
    return str(tmp_path)


@pytest.mark.parametrize("name", ["carl", "carl_tiny"])
def test_presets_of_real_servers_are_accepted(name: str, carla_root: str) -> None:
    preset = CARL_PRESETS[name]
    environment = robo.make(preset.task, carla_root=carla_root, **preset.options)
    assert environment.task == "carla/Town01"
    assert environment.max_episode_steps == 12_000
    assert environment.observation_space["birdseye"].shape == (10, 256, 256)
    environment.close()


def test_a_server_without_graphics_has_no_cameras(carla_root: str) -> None:
    preset, schedule = CARL_PRESETS["carl"], CameraSchedule(("front",), 32, 32, stride=1)
    assert "-nullrhi" in carla_command(carla_root, bool(preset.options["rendering"]))(2000)
    environment = robo.make(preset.task, carla_root=carla_root, **preset.options)
    with pytest.raises(RoboError, match="add rendering=True"):
        environment.set_camera_schedule(schedule)
    environment.set_camera_schedule(None)
    seeing = {**preset.options, "rendering": True}
    robo.make(preset.task, carla_root=carla_root, **seeing).set_camera_schedule(schedule)


def test_the_smoke_preset_is_accepted() -> None:
    preset = CARL_PRESETS["carl_smoke"]
    environment = robo.make(preset.task, **preset.options)
    assert environment.observation_space["birdseye"].shape == (10, 64, 64)
    environment.close()
