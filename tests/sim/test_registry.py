"""Ids to environments, and sentences for ids that cannot be made."""

from __future__ import annotations

import gymnasium
import pytest

import robo
from robo.errors import MissingExtraError, RoboError, UnknownTaskError
from robo.sim import registry


def test_tasks_are_current_and_unique():
    found = robo.tasks()
    assert len(found) == len(set(found))
    assert {"gym/CartPole-v1", "gym/Pendulum-v1"} <= set(found)
    assert "gym/CartPole-v0" not in found
    gym = [name for name in found if name.startswith("gym/")]  # other providers keep old ones
    assert not any(name.startswith("gym/GymV2") or name.endswith("-v2") for name in gym)


def test_every_listed_classic_task_can_be_made():
    for name in robo.tasks():
        spec = gymnasium.registry.get(name.removeprefix("gym/"))
        if spec is not None and "classic_control" in str(spec.entry_point):
            environment = robo.make(name)
            assert environment.task == name
            environment.close()


def test_unknown_id_names_the_nearest():
    with pytest.raises(UnknownTaskError, match=r"did you mean gym/Pendulum-v1") as error:
        robo.make("gym/Pendulum-v7")
    assert isinstance(error.value, RoboError)
    assert "\n" not in str(error.value)
    with pytest.raises(UnknownTaskError, match="robo tasks"):
        robo.make("nowhere/at-all")
    with pytest.raises(UnknownTaskError):
        robo.make("gym")


def test_missing_extra_says_what_to_install(monkeypatch):
    later = registry.Provider("a_simulator_that_is_not_installed", extra="libero")
    monkeypatch.setitem(registry.PROVIDERS, "elsewhere", later)
    with pytest.raises(MissingExtraError, match=r'pip install -e "\.\[libero\]"'):
        robo.make("elsewhere/Task")
    assert not any(name.startswith("elsewhere/") for name in robo.tasks())


def test_bad_backend_and_count():
    with pytest.raises(RoboError, match="unknown backend 'gpu'"):
        robo.make_vec("gym/CartPole-v1", 2, backend="gpu")
    with pytest.raises(RoboError, match="no native vector backend"):
        robo.make_vec("gym/MountainCar-v0", 2, backend="native")
    with pytest.raises(RoboError, match="num_envs is 0"):
        robo.make_vec("gym/CartPole-v1", 0)
