"""Any reward on stored episodes: no term gets lost, and company changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robo.errors import StoreError
from robo.media.events import episode_events, signal_events
from robo.media.stored import score_episodes, stored_stride
from robo.media.traces import summands
from robo.rewards.potential import SignalPotential
from robo.rewards.route_completion import RouteCompletionReward
from robo.rewards.shaping import ShapedReward
from robo.rewards.success import EnvironmentReward, Memoryless, SuccessReward
from robo.rollout import Episode, EpisodeInfo, RewardTerms, Rollout


def episode(steps: int, success: bool = True, seed: int = 0, stride: int = 1) -> Episode:
    """Frames at a stride and at the end; progress that rises."""
    generator = np.random.default_rng(seed)
    rows = np.array(sorted({*range(0, steps, stride), steps}))
    return Episode(
        EpisodeInfo("mujoco/Lift", "lift the cube", seed=seed),
        {"state": generator.normal(size=(steps + 1, 3)).astype(np.float32)},
        np.zeros((steps, 4), np.float32),
        np.arange(steps, dtype=np.float32),
        success,
        success,
        signals={"progress": np.linspace(0.1, 1, steps, dtype=np.float32)},
        frames={"front": generator.integers(0, 255, (len(rows), 8, 8, 3), dtype=np.uint8)},
        frame_step=rows,
        keyframes={"grasp": steps // 2},
    )


@pytest.mark.parametrize("stride", [1, 3])
def test_scores_do_not_depend_on_company(stride: int) -> None:
    episodes = [episode(7), episode(4, success=False, seed=1)]
    reward = ShapedReward(SuccessReward(), SignalPotential("progress", stride), 0.9)
    together = score_episodes(episodes, reward)
    for one, expected in zip(episodes, together, strict=True):
        alone = score_episodes([one], reward)[0]
        assert alone.total == pytest.approx(expected.total, abs=1e-6)
        assert alone.progress == pytest.approx(expected.progress)
        assert set(alone.terms) == {"success", "shaping"} == set(alone.stacked)
        discounted = (0.9 ** np.arange(len(one)) * alone.terms["shaping"]).sum()
        end = 0.0 if one.terminated else 0.9 ** len(one) * alone.progress[-1]
        assert discounted == pytest.approx(end - alone.progress[0], abs=1e-5)


def test_what_an_episode_lacks_is_named() -> None:
    with pytest.raises(StoreError, match="'delta_route_completion"):
        score_episodes([episode(4)], RouteCompletionReward())
    assert stored_stride(episode(9, stride=4)) == 4 and stored_stride(episode(9)) == 1


def test_terms_that_are_no_payments_are_told_apart() -> None:
    generator = np.random.default_rng(0)
    a, b, c = generator.normal(size=(3, 20))
    assert summands(a + b, {"a": a, "b": b}) == ("a", "b")
    assert summands(a + b, {"a": a, "speed": c, "b": b}) == ("a", "b")
    assert summands(a * b, {"a": a, "b": b}) == ()
    assert summands(a, {}) == ()
    assert summands(a + b, {"a": a, "zero": 0 * a, "b": b}) == ("a", "zero", "b")
    assert len(summands(np.zeros(3), {f"t{i}": np.full(3, i - 20.0) for i in range(41)})) >= 40


class Product(Memoryless):
    """Two factors."""

    def __call__(self, rollout: Rollout) -> RewardTerms:
        first = rollout.env_reward + 1
        return RewardTerms(first * 0.5, {"first": first, "half": torch.full_like(first, 0.5)})


def test_every_term_of_a_product_is_drawn() -> None:
    from robo.media.reward_video import RewardScene

    shown = episode(6)
    trace = score_episodes([shown], Product())[0]
    scene = RewardScene(shown, trace)
    assert {"total", "first", "half", "true progress"} <= set(scene.labels)
    assert any("do not add up" in label for label in scene.labels)
    assert score_episodes([shown], EnvironmentReward())[0].total.tolist() == list(range(6))


def test_events_in_the_order_of_time() -> None:
    driven = episode(10)
    driven.signals = {
        "red_light": np.array([0, 0, 0, 1, 1, 0, 0, 1, 0, 0], np.float32),
        "collision": np.array([1] + [0] * 9, np.float32),
    }
    found = [(event.step, event.name, event.kind) for event in episode_events(driven)]
    assert found == [
        (1, "collision", "infraction"),
        (4, "red light", "infraction"),
        (5, "grasp", "keyframe"),
        (8, "red light", "infraction"),
        (10, "success", "success"),
    ]
    assert signal_events({"speed": np.ones(3)}) == []
