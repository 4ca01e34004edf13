"""Rewards by a line of text."""

from __future__ import annotations

import pytest

from robo.errors import CheckpointError
from robo.rewards.config import RewardConfig, RewardConfigError, make_reward
from robo.rewards.driving import NuplanReward
from robo.rewards.naive import NaiveProgressReward
from robo.rewards.progress_route import ProgressRouteReward
from robo.rewards.robust.clip_delta import ClippedReward, DeltaReward
from robo.rewards.robust.ensemble import EnsembleReward
from robo.rewards.robust.gated import GatedReward
from robo.rewards.robust.hierarchy import HierarchicalReward
from robo.rewards.route_completion import RouteCompletionReward
from robo.rewards.shaping import ShapedReward
from robo.rewards.spec import reward_from_spec
from robo.rewards.srpo_reward import SRPOReward
from robo.rewards.success import NoReward, SuccessReward


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("success", SuccessReward),
        (" success ", SuccessReward),
        ("nuplan,nuplan=survival", NuplanReward),
        ("naive:progress", NaiveProgressReward),
        ("delta(raw:progress)", DeltaReward),
        ("route_completion", RouteCompletionReward),
        ("route_completion:progress", ProgressRouteReward),
        ("ensemble(success; delta(raw:progress,stride=3))", EnsembleReward),
        ("hierarchy[success=1,raw_progress=0.1](naive:progress)", HierarchicalReward),
    ],
)
def test_kinds(text, kind):
    assert type(reward_from_spec(text)) is kind


def test_options_reach_the_reward():
    reward = reward_from_spec("shaped:progress,stride=7", gamma=0.9, timeout="keep")
    assert isinstance(reward, ShapedReward)
    assert (reward.gamma, reward.timeout, reward.potential.stride) == (0.9, "keep", 7)
    assert reward_from_spec("shaped:progress", stride=4).potential.stride == 4
    gated = reward_from_spec("gated[limit=1.5,weight=2](raw:progress)")
    assert isinstance(gated, GatedReward) and (gated.limit, gated.weight) == (1.5, 2)
    assert isinstance(gated.inner["dense"].gold, NoReward)
    ordered = reward_from_spec("hierarchy[success=2,raw_progress=0.1](naive:progress)")
    assert isinstance(ordered, HierarchicalReward)
    assert (ordered.names, ordered.weights) == (("success", "raw_progress"), [2, 0.1])
    worst = reward_from_spec("ensemble[rule=worst](success; success)")
    assert isinstance(worst, EnsembleReward) and worst.rule == "worst"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "KIND"),
        ("success:3", "no argument"),
        ("success,foo=3", "cannot be read"),
        ("success,foo", "name=value"),
        ("naive:", "SIGNAL"),
        ("naive:progress,foo=1", "foo"),
        ("naive:progress,stride=x", "stride"),
        ("delta(success; success)", "only ensemble"),
        ("nonsense(success)", "wrappers"),
        ("clipped[bar=3](success)", "bar"),
        ("squashed[gather=3](success)", "gather"),
        ("hierarchy(success)", "a number for every term"),
        ("hierarchy[success=much](success)", "not for ..success"),
        ("grm", "no GRM folder"),
    ],
)
def test_what_cannot_be_read_is_named(text, said):
    with pytest.raises(RewardConfigError, match=said):
        reward_from_spec(text)


def test_options_of_several_numbers():
    text = "srpo:pixels,srpo.views=side,srpo.size=32,language.image.crop=0.25:0.25:0.75:1"
    reward = reward_from_spec(text, stride=4)
    assert isinstance(reward, SRPOReward)
    assert reward.camera is not None and reward.camera.views == ("side",)
    assert (reward.camera.height, reward.camera.stride) == (32, 4)


def test_the_text_of_a_training_run():
    config = RewardConfig(
        kind="composed", composed="clipped[threshold=0.5](raw:progress)", stride=3
    )
    reward = make_reward(config, 0.9, "keep")
    assert isinstance(reward, ClippedReward) and reward.threshold == 0.5
    assert reward.inner["dense"].potential.stride == 3
    with pytest.raises(RewardConfigError, match="KIND"):
        make_reward(RewardConfig(kind="composed"), 0.9, "keep")


def test_a_missing_model_is_named():
    with pytest.raises(CheckpointError, match="does not exist"):
        reward_from_spec("grm:/nowhere/grm")
