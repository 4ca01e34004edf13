"""The rewards that VLM-RL is compared with: their formulas, and their way through a rollout."""

from __future__ import annotations

import dataclasses

import pytest
import torch

pytest.importorskip("open_clip")

from robo.perception.clip import ClipEncoder
from robo.perception.clip_config import ClipConfig, ImageSource
from robo.rewards.config import RewardConfig, make_reward
from robo.rewards.language_baselines import (
    FrameBaselineReward,
    lord,
    lord_speed,
    vlm_rm,
    vlm_sr,
)
from robo.rewards.language_config import LanguageGoalConfig, LanguageGoalError
from robo.rollout import FinalObservation, Frames, Rollout


def unit(*shape, seed=0):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(x, dim=-1)


def test_vectors():
    assert vlm_sr([0.33, 0.32, -1.0]).tolist() == [1.0, -1.0, -1.0]
    assert lord(0.2).item() == pytest.approx(0.8)
    assert lord_speed(0.2, 20.0).item() == pytest.approx(1.8)
    assert lord_speed(0.2, 5.0).item() == pytest.approx(0.8 + 0.25)


def test_goal_baseline_regularisation():
    image, goal, baseline = unit(50, 8), unit(8, seed=1), unit(8, seed=2)
    # Without it, the cosine similarity.
    torch.testing.assert_close(vlm_rm(image, goal, baseline, 0.0), image @ goal)
    direction = goal - baseline
    matrix = 0.5 * torch.outer(direction, direction) / direction.dot(direction)
    matrix = matrix + 0.5 * torch.eye(8, dtype=torch.float64)
    wanted = 1 - (((image - goal) @ matrix) ** 2).sum(-1) / 2
    torch.testing.assert_close(vlm_rm(image, goal, baseline), wanted)
    assert vlm_rm(goal, goal, baseline).item() == pytest.approx(1.0)
    # In full it sees the line from baseline to goal alone.
    aside = torch.zeros(8, dtype=torch.float64)
    aside[:2] = torch.stack([-direction[1], direction[0]])
    assert vlm_rm(goal + aside, goal, baseline, 1.0).item() == pytest.approx(1.0)
    for alpha, other in ((1.5, baseline), (0.5, goal)):
        with pytest.raises(LanguageGoalError):
            vlm_rm(image, goal, other, alpha)


@pytest.fixture(scope="module")
def encoder(tiny_clip):
    return ClipEncoder.load(ClipConfig(model=str(tiny_clip)))


def drive(steps=4, envs=2):
    generator = torch.Generator().manual_seed(0)
    shape = (steps, envs)
    step, env = torch.meshgrid(torch.arange(steps + 1), torch.arange(envs), indexing="ij")
    pixels = torch.randint(0, 256, (step.numel(), 8, 8, 3), generator=generator)
    never = torch.zeros(shape, dtype=torch.bool)
    frames = Frames(
        {"bird": pixels.to(torch.uint8)},
        step.flatten(),
        env.flatten(),
        env.flatten(),
        torch.zeros(step.numel(), dtype=torch.bool),
    )
    return Rollout(
        observation={},
        last_observation={},
        final_observation=FinalObservation({}, torch.zeros(0).long(), torch.zeros(0).long()),
        action=torch.zeros(*shape, 2),
        log_prob=torch.zeros(shape),
        env_reward=torch.zeros(shape),
        terminated=never,
        truncated=never,
        success=never,
        episode=env[:-1],
        episodes={},
        signals={"speed": 8 * torch.rand(shape, generator=generator)},
        frames=frames,
    ).check()


@pytest.mark.parametrize("kind", ["vlm_sr", "roboclip", "vlm_rm", "lord", "lord_speed"])
def test_through_a_rollout(kind, tiny_clip, encoder):
    config = LanguageGoalConfig(
        clip=ClipConfig(model=str(tiny_clip)), image=ImageSource(height=8, width=8)
    )
    reward = make_reward(RewardConfig(kind=kind, stride=1, language=config), 0.98, "bootstrap")
    assert isinstance(reward, FrameBaselineReward)
    rollout = drive()
    terms = reward(rollout)
    image = encoder.images(rollout.frames.views["bird"]).view(5, 2, -1)[1:]
    names = {"vlm_rm": ("A car is driving safely", "A car")}.get(
        kind,
        (
            "The road is clear with no car accidents",
            "Two cars have collided with each other on the road",
        ),
    )
    positive, negative = encoder.texts(names)
    speed = 3.6 * rollout.signals["speed"]
    wanted = {
        "vlm_sr": lambda: torch.where(image @ positive > 0.32, 1.0, -1.0),
        "roboclip": lambda: image @ positive,
        "vlm_rm": lambda: vlm_rm(image, positive, negative),
        "lord": lambda: 1 - image @ negative,
        "lord_speed": lambda: 1 - image @ negative + 1 - (speed - 20).abs() / 20,
    }[kind]()
    torch.testing.assert_close(terms.total, wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.stack(list(terms.terms.values())).sum(0), terms.total)
    assert reward.signals == (("speed",) if kind == "lord_speed" else ())


def test_their_numbers_are_settings(tiny_clip, encoder):
    plain = LanguageGoalConfig(
        clip=ClipConfig(model=str(tiny_clip)), image=ImageSource(height=8, width=8)
    )
    rollout = drive()
    image = encoder.images(rollout.frames.views["bird"]).view(5, 2, -1)[1:]

    def paid(kind, **changes):
        config = RewardConfig(kind=kind, stride=1, language=dataclasses.replace(plain, **changes))
        return make_reward(config, 0.98, "bootstrap")(rollout).total

    similar = image @ encoder.texts(["The road is clear with no car accidents"])[0]
    middle = float(similar.median())
    wanted = torch.where(similar > middle, 1.0, -1.0)
    assert torch.equal(paid("vlm_sr", success_similarity=middle), wanted)
    assert wanted.unique().numel() == 2
    safe, car = encoder.texts(["A car is driving safely", "A car"])
    torch.testing.assert_close(
        paid("vlm_rm", regularisation=0.9), vlm_rm(image, safe, car, 0.9), atol=1e-5, rtol=0
    )
    slow, fast = (paid("lord_speed", lord_speed=speed) for speed in (10.0, 40.0))
    speed = 3.6 * rollout.signals["speed"]
    torch.testing.assert_close(
        slow - fast, (speed - 40).abs() / 40 - (speed - 10).abs() / 10, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("regularisation", 1.5), ("success_similarity", 3.0), ("lord_speed", 0.0)],
)
def test_numbers_out_of_range(name, value):
    with pytest.raises(LanguageGoalError, match=name):
        LanguageGoalConfig(**{name: value})


def test_a_baselines_view_that_is_not_there(tiny_clip, encoder):
    config = LanguageGoalConfig(image=ImageSource(view="front"))
    reward = FrameBaselineReward("lord", config, encoder=encoder)
    with pytest.raises(LanguageGoalError, match="no view 'front'"):
        reward(drive())
