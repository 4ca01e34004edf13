"""Shaping changes no advantage and no optimal policy, wherever frames, ends and cuts fall."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.policies.advantage import gae
from robo.rewards.base import Reward
from robo.rewards.potential import PotentialCarry, SignalPotential, hold
from robo.rewards.progress import advance
from robo.rewards.shaping import ShapedReward, ShapingError, policy_invariant
from robo.rewards.success import SuccessReward
from robo.rollout import CameraSchedule, FinalObservation, Frames, Rollout


class RecordedPotential:
    """Row values given beforehand, one tensor per call, held like a camera's."""

    signals: tuple[str, ...] = ()

    def __init__(self, values, stride):
        self.values, self.stride = list(values), stride
        self.camera: CameraSchedule | None = CameraSchedule(stride=stride)
        self.carry = None

    def __call__(self, rollout):
        track, self.carry = hold(rollout, self.values.pop(0), self.carry)
        return track

    def state_dict(self):
        return {} if self.carry is None else dict(self.carry.state_dict())

    def load_state_dict(self, state):
        self.carry = PotentialCarry.from_state_dict(state) if state else None


class RandomGold(SuccessReward):
    """A gold reward in float64: the environment's random reward."""

    def __call__(self, rollout):
        terms = super().__call__(rollout)
        terms.total = rollout.env_reward
        return terms


def random_rollout(seed, stride, steps=24, envs=3):
    """A rollout with frames, and a path-dependent potential for each frame row."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, size=(steps, envs), p=[0.8, 0.1, 0.1])
    episode = np.zeros((steps, envs), int)
    rows, values = [], []
    for env in range(envs):
        current, local, progress = env, 0, 0.0
        for t in range(steps + 1):
            if t and kind[t - 1, env]:
                progress = float(advance(progress, rng.uniform(-1, 1)))
                rows.append((t, env, current, True))
                values.append(progress)
                current, local, progress = current + envs, 0, float(rng.uniform(0, 0.3))
            if local % stride == 0:
                progress = float(advance(progress, rng.uniform(-1, 1)))
                rows.append((t, env, current, False))
                values.append(progress)
            local += 1
            if t < steps:
                episode[t, env] = current
    step, env, row_episode, final = (torch.tensor(c) for c in zip(*rows, strict=True))
    order = torch.argsort((step * envs + env) * 2 + (~final).long())
    frames = Frames({}, step, env, row_episode, final).rows(order)
    kind, gold = torch.tensor(kind), torch.from_numpy(rng.normal(size=(steps, envs)))
    rollout = build(kind, torch.tensor(episode), gold, frames)
    return rollout, torch.tensor(values, dtype=torch.float64)[order]


def build(kind, episode, gold, frames, signals=None):
    """A rollout from what ended each step: 0 nothing, 1 termination, 2 time-out."""
    step, env = torch.nonzero(kind, as_tuple=True)
    return Rollout(
        observation={},
        last_observation={},
        final_observation=FinalObservation({}, step, env),
        action=torch.zeros(*kind.shape, 1),
        log_prob=torch.zeros(kind.shape),
        env_reward=gold,
        terminated=kind == 1,
        truncated=kind == 2,
        success=kind == 1,
        episode=episode,
        episodes={},
        signals=signals or {},
        frames=frames,
    ).check()


def cut(rollout, values, points):
    """Pieces of a rollout; the row at a cut is in both, a final row in the first only."""
    steps = rollout.shape[0]
    kind = rollout.terminated.long() + 2 * rollout.truncated.long()
    edges = [0, *sorted(points), steps]
    for begin, end in pairwise(edges):
        rows = rollout.frames
        keep = (rows.step >= begin) & (rows.step <= end) & ~(rows.final & (rows.step == begin))
        frames = rows.rows(keep)
        frames.step = frames.step - begin
        slices = slice(begin, end)
        yield (
            begin,
            end,
            build(kind[slices], rollout.episode[slices], rollout.env_reward[slices], frames),
            values[keep],
        )


def advantages(rollout, total, at_state, at_final, gamma, lam):
    """GAE with V of the states and of the final rows."""
    following = rollout.of_next_state(at_state, at_final)
    return gae(total, at_state[:-1], following, rollout.terminated, rollout.truncated, gamma, lam)[
        0
    ]


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    stride=st.integers(1, 7),
    points=st.sets(st.integers(1, 23), max_size=4),
    gamma=st.floats(0.5, 1.0),
    lam=st.floats(0, 1),
    weight=st.floats(0, 2),
)
def test_shaping_changes_no_advantage(seed, stride, points, gamma, lam, weight):
    rollout, values = random_rollout(seed, stride)
    whole, _ = hold(rollout, values)
    pieces = list(cut(rollout, values, points))
    recorded = RecordedPotential([part[3] for part in pieces], stride)
    reward = ShapedReward(RandomGold(), recorded, gamma, weight=weight)
    tracked = RecordedPotential([part[3] for part in pieces], stride)
    generator = torch.Generator().manual_seed(seed)
    for begin, end, part, _ in pieces:
        terms, track = reward(part), tracked(part)
        assert torch.equal(track.at_state, whole.at_state[begin : end + 1])
        assert torch.equal(track.age, whole.age[begin : end + 1])
        value = torch.randn(track.at_state.shape, generator=generator, dtype=torch.float64)
        final = torch.randn(track.at_final.shape, generator=generator, dtype=torch.float64)
        gold = advantages(part, part.env_reward, value, final, gamma, lam)
        shaped = advantages(
            part,
            terms.total,
            value - weight * track.at_state,
            final - weight * track.at_final,
            gamma,
            lam,
        )
        assert float((gold - shaped).abs().max()) < 1e-10


def test_vector_of_the_paper():
    potential = torch.tensor([0, 0.25, 0.5, 0.5, 0.7, 0.97], dtype=torch.float64)
    gold = torch.tensor([0, 0, 0, 0, 1.0], dtype=torch.float64)
    shaped = policy_invariant(gold, potential[:-1], potential[1:], False, 0.99)
    assert shaped.tolist() == pytest.approx([0.2475, 0.2450, -0.0050, 0.1930, 1.2603], abs=1e-12)
    discount = 0.99 ** torch.arange(5, dtype=torch.float64)
    assert float((discount * (shaped - gold)).sum()) == pytest.approx(0.99**5 * 0.97)
    assert float((discount * (shaped - gold)).sum()) == pytest.approx(0.92246, abs=1e-5)
    last = policy_invariant(1.0, 0.7, 0.97, True, 0.99)
    assert float(last) == pytest.approx(0.3)


def test_policy_invariant_ignores_an_unknown_terminal_potential():
    assert float(policy_invariant(0.0, 0.5, float("nan"), True, 0.9)) == -0.5
    with pytest.raises(ValueError, match="gamma"):
        policy_invariant(0.0, 0.5, 0.5, False, 1.5)


def optimal_values(transition, reward, terminated, gamma):
    """Q* ``[S, A]`` of a terminating decision process, by value iteration."""
    quality = torch.zeros(transition.shape[:2], dtype=torch.float64)
    for _ in range(2000):
        value = quality.max(dim=1).values
        target = reward + gamma * torch.where(terminated, 0.0, value)
        following = (transition * target).sum(dim=-1)
        if float((following - quality).abs().max()) < 1e-13:
            break
        quality = following
    return quality


@pytest.mark.parametrize("seed", range(20))
def test_optimal_policies_are_unchanged(seed):
    generator = torch.Generator().manual_seed(seed)
    states, actions, gamma = 6, 3, 0.95

    def draw(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    transition = draw(states, actions, states) ** 4
    transition /= transition.sum(dim=-1, keepdim=True)
    terminated = draw(states, actions, states) < 0.2
    gold = draw(states, actions, states) * terminated
    potential = draw(states)
    shaped = policy_invariant(
        gold, potential[:, None, None], potential[None, None], terminated, gamma
    )
    before = optimal_values(transition, gold, terminated, gamma)
    after = optimal_values(transition, shaped, terminated, gamma)
    assert torch.allclose(after, before - potential[:, None], atol=1e-9)
    assert torch.equal(before.argmax(dim=1), after.argmax(dim=1))


def test_the_naive_difference_changes_the_optimal_policy():
    # State 0: action 0 ends the task, solved with probability 0.3 (shown in state 2, otherwise
    # state 0); action 1 goes to state 1, which looks promising and leads nowhere.
    transition = torch.zeros(3, 2, 3, dtype=torch.float64)
    transition[0, 0] = torch.tensor([0.7, 0, 0.3])
    transition[0, 1, 1] = transition[1, :, 1] = transition[2, :, 2] = 1
    terminated = torch.zeros(3, 2, 3, dtype=torch.bool)
    terminated[0, 0] = True
    gold = torch.zeros(3, 2, 3, dtype=torch.float64)
    gold[0, 0, 2] = 1
    potential = torch.tensor([0, 0.9, 1], dtype=torch.float64)
    here, there = potential[:, None, None], potential[None, None]
    invariant = policy_invariant(gold, here, there, terminated, 0.99)
    best = [
        int(optimal_values(transition, reward, terminated, 0.99)[0].argmax())
        for reward in (gold, invariant, gold + there - here)
    ]
    assert best == [0, 0, 1]


@settings(max_examples=50, deadline=None)
@given(
    success=st.lists(st.floats(0, 1), min_size=1, max_size=12),
    failure=st.lists(st.floats(0, 1), min_size=12, max_size=12),
    stride=st.integers(1, 7),
    gamma=st.floats(0.5, 0.999),
)
def test_under_keep_any_success_beats_any_failure(success, failure, stride, gamma):
    def discounted(signal, kind):
        ends = torch.zeros(len(signal), 1, dtype=torch.int64)
        ends[-1] = kind
        progress = torch.tensor(signal, dtype=torch.float64)[:, None]
        gold = torch.zeros(len(signal), 1)
        rollout = build(ends, torch.ones_like(ends), gold, None, {"progress": progress})
        reward = ShapedReward(SuccessReward(), SignalPotential(stride=stride), gamma, "keep")
        discount = gamma ** torch.arange(len(signal), dtype=torch.float64)
        return float((discount * reward(rollout).total[:, 0]).sum())

    # The success comes no later than the time limit; a learner under "keep" does not bootstrap.
    assert discounted(success, 1) > discounted(failure, 2)


def test_terms_features_and_state():
    rollout, values = random_rollout(3, stride=4)
    reward = ShapedReward(SuccessReward(), RecordedPotential([values], 4), 0.9, "keep", 0.5)
    assert isinstance(reward, Reward)
    assert (reward.gamma, reward.timeout, reward.critic_feature_dim) == (0.9, "keep", 2)
    assert reward.camera == CameraSchedule(stride=4)
    terms = reward(rollout)
    assert set(terms.terms) == {"success", "shaping", "potential"}
    assert torch.allclose(terms.total, terms.terms["success"] + terms.terms["shaping"])
    track, _ = hold(rollout, values)
    assert torch.equal(terms.terms["potential"], track.at_state[:-1])
    assert terms.critic_features is not None
    assert terms.final_critic_features is not None
    assert terms.critic_features.shape == (25, 3, 2)
    assert terms.final_critic_features.shape == (int(rollout.done.sum()), 2)
    assert 0 <= float(terms.critic_features.min()) <= float(terms.critic_features.max()) <= 1
    other = ShapedReward(SuccessReward(), RecordedPotential([], 4), 0.9)
    other.load_state_dict(reward.state_dict())
    assert other.state_dict()["potential"]["episode"].shape == (3,)


def test_slots_that_are_not_valid_get_no_shaping():
    rollout, values = random_rollout(5, stride=2)
    rollout.valid = torch.rand(rollout.shape) < 0.5
    terms = ShapedReward(SuccessReward(), RecordedPotential([values], 2), 0.9)(rollout)
    assert not terms.total[~rollout.valid].any()


def test_settings_that_contradict_are_refused():
    gold, potential = SuccessReward(), SignalPotential()
    with pytest.raises(ShapingError, match="gamma"):
        ShapedReward(gold, potential, 0.0)
    with pytest.raises(ShapingError, match="timeout"):
        ShapedReward(gold, potential, 0.9, "ignore")  # type: ignore[arg-type]
    with pytest.raises(ShapingError, match="weight"):
        ShapedReward(gold, potential, 0.9, weight=-1.0)
    inner = ShapedReward(gold, potential, 0.9, "keep")
    with pytest.raises(ShapingError, match=r"gamma 0\.9"):
        ShapedReward(inner, SignalPotential(), 0.99, "keep")
    with pytest.raises(ShapingError, match="time-out rule 'keep'"):
        ShapedReward(inner, SignalPotential(), 0.9, "bootstrap")
