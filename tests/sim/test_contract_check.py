"""The contract check passes what keeps the contract and names what breaks it."""

from __future__ import annotations

import pytest

import robo
from robo.sim.contract_check import ContractError, check_contract
from robo.sim.gym_adapter import GymEnvironment
from robo.sim.in_process import InProcessVectorEnvironment
from robo.sim.mujoco.vector import MujocoVectorEnvironment

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", ["Pendulum-v1", "CartPole-v1", "FrozenLake-v1", "Blackjack-v1"])
def test_single_environments_pass(name):
    environment = robo.make(f"gym/{name}")
    check_contract(environment, render=False)
    environment.close()


@pytest.mark.parametrize("backend", ["in_process", "threads"])
def test_vectors_pass(backend):
    vector = robo.make_vec("gym/CartPole-v1", 3, backend=backend)
    check_contract(vector, render=False)
    vector.close()


class Broken(GymEnvironment):
    """CartPole with one rule broken."""

    def __init__(self, rule):
        super().__init__("CartPole-v1")
        self.rule = rule
        if rule == "task":
            self.task = ""
        if rule == "cameras":
            self.cameras = ("ceiling",)
        if rule == "signals":
            self.signal_names = ("speed",)

    def step_checked(self, action):
        observation, reward, terminated, truncated, info = super().step_checked(action)
        if self.rule == "success":
            info["success"] = True
        if self.rule == "exclusive":
            truncated = terminated
        return observation, reward, terminated, truncated, info


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("task", "registry id"),
        ("cameras", "ceiling"),
        ("signals", "signals"),
        ("success", "success does not terminate"),
        ("exclusive", "terminated and truncated"),
    ],
)
def test_broken_rules_are_named(rule, sentence):
    with pytest.raises(ContractError, match=sentence):
        check_contract(Broken(rule), render=False)


@pytest.mark.parametrize(
    ("hasty", "sentence"), [(True, "before the next reset"), (False, "does not stop frames")]
)
def test_a_camera_schedule_waits_for_a_reset_and_none_does_not(hasty, sentence):
    class Wrong(MujocoVectorEnvironment):
        def set_camera_schedule(self, schedule):
            self._pending = schedule
            if hasty:
                self._use_schedule()

    check_contract(MujocoVectorEnvironment("Reach", 2), steps=4)
    with pytest.raises(ContractError, match=sentence):
        check_contract(Wrong("Reach", 2), steps=4)


def test_reset_observation_as_final_is_caught(monkeypatch):
    vector = InProcessVectorEnvironment([lambda: robo.make("gym/CartPole-v1")] * 2)
    original = vector.step

    def step(actions):
        observation, reward, terminated, truncated, infos = original(actions)
        for row in (terminated | truncated).nonzero()[0]:
            infos["final_obs"][row] = {key: array[row] for key, array in observation.items()}
        return observation, reward, terminated, truncated, infos

    monkeypatch.setattr(vector, "step", step)
    with pytest.raises(ContractError, match="is the reset observation"):
        check_contract(vector, render=False)
