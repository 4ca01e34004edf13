"""What every wrapper keeps: cuts change nothing, idle slots pay nothing, sums are what they say."""

from __future__ import annotations

import pytest
import torch

from robo.rewards.base import Reward
from robo.rewards.potential import SignalPotential
from robo.rewards.progress_route import ProgressRouteReward
from robo.rewards.robust.attribution import AttributedReward
from robo.rewards.robust.clip_delta import ClippedReward, DeltaReward, clip
from robo.rewards.robust.ensemble import EnsembleReward, lower_bound
from robo.rewards.robust.filtering import FilteredReward, keep_by_rank
from robo.rewards.robust.gated import GatedReward, gate
from robo.rewards.robust.squash import SquashedReward, squash
from robo.rewards.robust.wrapper import WrapperError
from robo.rewards.shaping import ShapedReward
from robo.rewards.success import SuccessReward

IDS = [0, 0, 0, 1, 1, 1, 1, 2, 2]
DONE = [0, 0, 1, 0, 0, 0, 1, 0, 0]
WON = [0, 0, 1, 0, 0, 0, 0, 0, 0]
DENSE = [0.1, 0.2, 0.4, 0.5, 0.4, 0.3, 0.6, 0.2, 0.1]
OTHER = [0.1, 0.3, 0.4, 0.1, 0.4, 0.9, 0.6, 0.2, 0.5]


@pytest.fixture
def made(rollout):
    return rollout(IDS, DONE, WON, dense=DENSE, other=OTHER)


@pytest.fixture
def wrappers(given):
    dense, other = given(), given("other")
    return {
        "gated": lambda: GatedReward(dense),
        "attributed": lambda: AttributedReward(SignalPotential("dense")),
        "squashed": lambda: SquashedReward(dense),
        "clipped": lambda: ClippedReward(dense, 0.3),
        "delta": lambda: DeltaReward(dense),
        "route": lambda: ProgressRouteReward("dense"),
        "ensemble": lambda: EnsembleReward([dense, other]),
        "filtered": lambda: FilteredReward(EnsembleReward([dense, other]), "inner.deviation", 0.1),
    }


NAMES = ("gated", "attributed", "squashed", "clipped", "delta", "route", "ensemble", "filtered")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("at", [1, 3, 5, 8])
def test_where_a_rollout_is_cut_changes_nothing(wrappers, rollout, made, name, at):
    whole = wrappers[name]()(made)
    reward, again = wrappers[name](), wrappers[name]()
    parts = []
    for begin, end in ((0, at), (at, len(IDS))):
        part = rollout(
            IDS[begin:end], DONE[begin:end], WON[begin:end],
            dense=DENSE[begin:end], other=OTHER[begin:end],
        )  # fmt: skip
        parts.append(reward(part))
        again.load_state_dict(reward.state_dict())  # resuming is exact too
        reward = again
    assert torch.equal(torch.cat([p.total for p in parts]), whole.total)
    if whole.critic_features is not None:
        kept = torch.cat([parts[0].critic_features[:-1], parts[1].critic_features])
        assert torch.equal(kept, whole.critic_features)


@pytest.mark.parametrize("name", NAMES)
def test_wrappers_keep_the_protocol(wrappers, made, name):
    reward = wrappers[name]()
    assert isinstance(reward, Reward)
    terms = reward(made)
    paid = [part for key, part in terms.terms.items() if not key.startswith("inner.")]
    assert torch.allclose(torch.stack(paid).sum(0), terms.total)
    assert terms.total.dtype == torch.float32 and terms.total.shape == made.shape
    assert bool(terms.total.isfinite().all())
    if reward.critic_feature_dim:
        assert terms.critic_features.shape == (10, 1, reward.critic_feature_dim)
        assert terms.final_critic_features.shape == (2, reward.critic_feature_dim)
        assert bool(terms.critic_features.isfinite().all())


@pytest.mark.parametrize("name", ["gated", "squashed", "clipped", "delta", "ensemble"])
def test_idle_slots_pay_nothing_and_are_not_remembered(wrappers, rollout, name):
    idle = rollout(
        [0, 0, 0], [0, 0, 1], [0, 0, 1], valid=[1, 0, 1], dense=[1, 9, 2], other=[1, 9, 2]
    )
    short = rollout([0, 0], [0, 1], [0, 1], dense=[1, 2], other=[1, 2])
    with_idle, without = wrappers[name]()(idle).total, wrappers[name]()(short).total
    assert with_idle[1] == 0
    assert torch.equal(with_idle[[0, 2]], without)


def test_gate_opens_for_successes_alone(given, made):
    total = GatedReward(given(), weight=0.5, limit=0.6)(made).total[:, 0]
    assert total.tolist() == pytest.approx([0, 0, 1 + 0.5 * 0.6, 0, 0, 0, 0, 0, 0])
    assert gate(torch.tensor([2.0, 3.0]), torch.tensor([0.9, 1.0]), 1.0).tolist() == [0, 3]
    failing = GatedReward(given(), outcome=given("other"), threshold=2.0)(made).total[:, 0]
    assert failing[2] == pytest.approx(0.4)  # 0.8 does not pass, and only the outcome is paid
    assert failing[6] == pytest.approx(0.6 + 1.8)


def test_attributed_shares_sum_to_the_outcome(made):
    total = AttributedReward(SignalPotential("dense"))(made).total[:, 0]
    assert total[:3].sum().item() == pytest.approx(1)
    assert total[3:7].sum().item() == pytest.approx(0, abs=1e-6)
    assert total[:2].tolist() == pytest.approx([0.1, 0.1])


def test_squash_is_bounded_and_centred():
    values = squash(torch.tensor([-100.0, 2.0, 100.0]), 2.0, 1.0)
    assert values.tolist() == pytest.approx([-1, 0, 1])
    sigmoid = 2 * torch.sigmoid(torch.tensor(0.7) / 0.5) - 1
    assert squash(torch.tensor(0.7), 0.0, 0.5).item() == pytest.approx(sigmoid.item())


def test_squash_takes_the_first_episodes_as_its_reference(given, rollout):
    reward = SquashedReward(given(), reference_episodes=2)
    one = rollout([0, 1, 2, 3], [1, 1, 1, 1], dense=[1.0, 3.0, 50.0, 2.0])
    total = reward(one).total[:, 0]
    assert total[0] == 0 and reward.centre() == 2
    assert total[3] == 0 and total[2] == pytest.approx(1)


def test_clip_and_delta_by_hand(given, made):
    assert clip(torch.tensor([0.2, 0.9]), 0.5).tolist() == pytest.approx([-0.3, 0])
    total = DeltaReward(given())(made).total[:, 0]
    assert total.tolist() == pytest.approx([0, 0.1, 1.2, 0, -0.1, -0.1, 0.3, 0, -0.1])


def test_progress_as_a_route_is_paid_once(made):
    total = ProgressRouteReward("dense")(made).total[:, 0]
    assert total.tolist() == pytest.approx([10, 10, 20, 50, 0, 0, 10, 20, 0])


def test_lower_bounds_by_hand():
    members = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    assert lower_bound(members, "mean").tolist() == [2, 0]
    assert lower_bound(members, "worst").tolist() == [1, 0]
    assert lower_bound(members, "variance", 0.5).tolist() == [1.5, 0]


def test_filter_falls_back_where_members_disagree(given, made):
    ensemble = EnsembleReward([given(), given("other")], "mean")
    total = FilteredReward(ensemble, "inner.deviation", 0.1)(made).total[:, 0]
    # They differ by more than 0.2 at steps 3, 5 and 8.
    assert total.tolist() == pytest.approx([0.1, 0.25, 0.4, 0, 0.4, 0, 0.6, 0.2, 0])


def test_which_samples_are_kept():
    reward = torch.tensor([0.1, 0.9, 0.5, 0.3, 0.7])
    assert keep_by_rank(reward, 0.4).tolist() == [True, True, False, False, False]
    assert keep_by_rank(reward, 0.4, "best").tolist() == [False, True, False, False, True]
    random = keep_by_rank(reward, 0.6, "best_and_random", seed=1)
    assert random.sum() == 3 and random[1] and random[4]
    assert keep_by_rank(reward, 0.01).tolist() == [False, True, False, False, False]


def test_bad_settings_are_named(given, made):
    with pytest.raises(WrapperError, match="weight is -1"):
        GatedReward(given(), weight=-1)
    with pytest.raises(WrapperError, match="scale is 0"):
        SquashedReward(given(), scale=0)
    with pytest.raises(WrapperError, match="at least one member"):
        EnsembleReward([])
    with pytest.raises(WrapperError, match="median"):
        EnsembleReward([given()], "median")  # type: ignore[arg-type]
    with pytest.raises(WrapperError, match="no term 'doubt'"):
        FilteredReward(given(), "doubt", 1)(made)
    with pytest.raises(WrapperError, match="share is 0"):
        keep_by_rank(torch.ones(3), 0)
    shaped = [ShapedReward(SuccessReward(), SignalPotential("dense"), g) for g in (0.9, 0.99)]
    with pytest.raises(WrapperError, match="different discounts"):
        EnsembleReward(shaped)
