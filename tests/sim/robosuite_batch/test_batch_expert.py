"""The task is solvable, and its scripted failures fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robo.errors import RoboError
from robo.policies.recorder import record_episodes
from robo.sim.mujoco.expert import CLEAN, ExpertStyle


@pytest.mark.parametrize(
    "style",
    [
        pytest.param(CLEAN, id="clean"),
        pytest.param(ExpertStyle(), id="noisy", marks=pytest.mark.slow),
    ],
)
def test_the_expert_lifts(style: ExpertStyle, make_vec: Any) -> None:
    from robo.sim.experts import make_expert

    environment = make_vec(50)
    actor = make_expert(environment.task, style, seed=2)
    episodes = record_episodes(environment, actor, range(700, 750))
    assert np.mean([episode.success for episode in episodes]) >= 0.9
    solved = [episode for episode in episodes if episode.success]
    assert all(list(episode.keyframes) == ["grasp", "lift"] for episode in solved)
    for episode in solved:
        progress = episode.signals["progress"]
        assert progress[-1] == 1 and (progress >= 0).all() and progress[0] < 0.2
        assert episode.signals["cube_height"][-1] > 0.04


def test_the_expert_lifts_without_rotation(make_vec: Any) -> None:
    from robo.sim.experts import make_expert

    options = {"controller": "OSC_POSITION"}
    environment = make_vec(30, **options)
    actor = make_expert(environment.task, CLEAN, seed=2, options=options)
    episodes = record_episodes(environment, actor, range(700, 730))
    assert episodes[0].action.shape[1] == 4
    assert np.mean([episode.success for episode in episodes]) >= 0.9


def test_experts_say_which_controller_they_act_with() -> None:
    from robo.sim.experts import make_expert

    with pytest.raises(RoboError, match=r"OSC_POSE.*JOINT_POSITION"):
        make_expert("robosuite/Lift", options={"controller": "JOINT_POSITION"})
    with pytest.raises(RoboError, match=r"JOINT_POSITION.*OSC_POSITION"):
        make_expert("robosuite-batch/Lift", options={"controller": "JOINT_POSITION"})


@pytest.mark.parametrize("script", ["beside", "closed", "open", "wander"])
def test_failures_fail(script: str, make_vec: Any) -> None:
    from robo.sim.robosuite_batch.expert import make_expert

    environment = make_vec(8)
    actor = make_expert(environment.task, ExpertStyle(), seed=3, script=script)
    episodes = record_episodes(environment, actor, range(800, 808))
    assert np.mean([episode.success for episode in episodes]) <= 0.25
    assert episodes[0].metadata["actor"] == script


def test_unknown_scripts_are_refused(scene: Any) -> None:
    from robo.sim.robosuite_batch.expert import make_expert

    with pytest.raises(RoboError, match="drop"):
        make_expert("robosuite-batch/Lift", script="drop")
    with pytest.raises(RoboError, match="mujoco/Lift"):
        make_expert("mujoco/Lift")
