"""Controllers read the simulation faster, and to the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.mark.parametrize("controller", ["OSC_POSE", "OSC_POSITION", "JOINT_VELOCITY"])
def test_the_same_bits_as_robosuites_own(robosuite: Any, controller: str, monkeypatch: Any) -> None:
    from robo.sim.robosuite import physics
    from robo.sim.robosuite.compatibility import version
    from robo.sim.robosuite.provider import make

    if version() >= (1, 5):
        pytest.skip("robosuite 1.5 reads its state by itself")
    ends, readers = [], []
    for fast in (True, False):
        if not fast:
            monkeypatch.setattr(physics, "states_of", lambda *arguments: [])
        environment: Any = make("robosuite/Lift", controller=controller)
        environment.reset(seed=2)
        generator = np.random.default_rng(0)
        readers.append(len(physics.states_of(environment.raw, environment._physics._mujoco)))
        states = []
        for _ in range(20):
            size = environment.action_space.shape
            action = generator.uniform(-1.0, 1.0, size).astype(np.float32)
            states.append(environment.step(action)[0]["state"])
        arm = environment.raw.robots[0].controller
        assert "update" not in vars(arm)
        ends.append([*states, arm.J_full, arm.mass_matrix, arm.ee_pos_vel, arm.ee_ori_vel])
        environment.close()
    assert readers == [1, 0]
    for one, two in zip(*ends, strict=True):
        assert np.array_equal(one, two)
