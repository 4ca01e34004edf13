"""CaRL's reward: each factor alone, a hand-computed episode, and the baselines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robo.rewards.config import RewardConfig, make_reward
from robo.rewards.driving import (
    AdditiveReward,
    NuplanConfig,
    NuplanReward,
    RoachReward,
    additive_step_reward,
    nuplan_lane_distance,
    nuplan_step_reward,
    roach_desired_speed,
)
from robo.rewards.route_completion import (
    DrivingRewardError,
    RouteCompletionConfig,
    RouteCompletionReward,
    step_reward,
)
from robo.rollout import EpisodeInfo, FinalObservation, Rollout

CLEAN = {
    "outside_lanes": 0.0,
    "speed": 5.0,
    "speed_limit": 8.0,
    "ttc_active": 0.0,
    "comfort_active": 0.0,
    "lateral_offset": 0.0,
    "lane_width": 3.5,
    "in_junction": 0.0,
    "collision": 0.0,
    "red_light": 0.0,
}
"""A step without any infraction."""

HAND_COMPUTED = [
    # (percentage points of this step, what differs from CLEAN, reward worked out by hand)
    (0.0, {"speed": 0.0}, 0.0),  # standing
    (0.1, {}, 0.1),
    (0.2, {}, 0.2),
    (0.2, {"outside_lanes": 1.0}, 0.0),
    (0.2, {"speed": 8.0}, 0.2),  # at the limit
    (0.2, {"speed": 9.115}, 0.1),  # half of 2.23 m/s above it
    (0.2, {"speed": 10.23}, 0.0),
    (0.2, {"speed": 30.0}, 0.0),  # never negative
    (0.2, {"ttc_active": 1.0}, 0.1),
    (0.2, {"comfort_active": 1.0}, 0.2 * 11 / 12),
    (0.2, {"comfort_active": 6.0}, 0.1),
    (0.2, {"lateral_offset": 0.875}, 0.1),  # half way to the edge of 1.75 m
    (0.2, {"lateral_offset": -0.4375}, 0.15),  # to the other side
    (0.2, {"lateral_offset": 1.75}, 0.0),
    (0.2, {"lateral_offset": 1.75, "in_junction": 1.0}, 0.2),
    (
        0.4,
        {"speed": 9.115, "ttc_active": 1.0, "comfort_active": 3.0, "lateral_offset": 0.875},
        0.4 * 0.5 * 0.5 * 0.75 * 0.5,  # = 0.0375
    ),
    (0.0, {"outside_lanes": 1.0, "speed": 0.0}, 0.0),
    (0.3, {"red_light": 1.0}, 0.3 - 1.0),
    (0.3, {"collision": 1.0, "ttc_active": 1.0}, 0.15 - 1.0),
    (0.3, {"collision": 1.0, "red_light": 1.0}, 0.3 - 1.0),  # the hint is taken off once
]


def rollout_of(rows: list[dict[str, float]], **changes: torch.Tensor) -> Rollout:
    """A rollout of one environment with these signals."""
    steps = len(rows)
    zero = torch.zeros(steps, 1)
    signals = {
        name: torch.tensor([[row.get(name, 0.0)] for row in rows], dtype=torch.float32)
        for name in {key for row in rows for key in row}
    }
    no = zero.bool()
    parts: dict[str, Any] = {
        "env_reward": zero,
        "terminated": no,
        "truncated": no,
        "success": no,
        "episode": zero.long(),
        **changes,
    }
    ended = int((parts["terminated"] | parts["truncated"]).sum())
    final = FinalObservation(
        {"state": torch.zeros(ended, 1)},
        *(part.long() for part in (parts["terminated"] | parts["truncated"]).nonzero().unbind(1)),
    )
    return Rollout(
        observation={"state": torch.zeros(steps, 1, 1)},
        last_observation={"state": torch.zeros(1, 1)},
        final_observation=final,
        action=torch.zeros(steps, 1, 2),
        log_prob=zero,
        episodes={0: EpisodeInfo("carla-standin/Grid"), 1: EpisodeInfo("carla-standin/Grid")},
        signals=signals,
        **parts,
    )


@pytest.mark.parametrize(("delta", "change", "expected"), HAND_COMPUTED)
def test_each_step_of_the_hand_computed_episode(delta, change, expected):
    found = step_reward(delta, **{**CLEAN, **change})
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_the_whole_hand_computed_episode_through_the_reward():
    rows = [
        {**CLEAN, **change, "delta_route_completion": delta} for delta, change, _ in HAND_COMPUTED
    ]
    terms = RouteCompletionReward()(rollout_of(rows))
    expected = torch.tensor([[reward] for _, _, reward in HAND_COMPUTED])
    torch.testing.assert_close(terms.total, expected.float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.stack(list(terms.terms.values())).sum(0), terms.total)
    assert float(terms.total.sum()) == pytest.approx(
        sum(reward for _, _, reward in HAND_COMPUTED), abs=1e-5
    )


ENDINGS = {
    # name: (percentage points of the last step, what differs from CLEAN, flags, its reward by hand)
    "finished": (0.2, {}, {"terminated", "success"}, 0.2),  # no bonus
    "finished, the paper's flags": (0.2, {}, {"truncated", "success"}, 0.2),
    "time limit": (0.2, {}, {"truncated"}, 0.2),
    "time limit, the paper's flags": (0.2, {}, {"terminated"}, 0.2),
    "stop sign": (0.3, {"stop_sign": 1.0}, {"terminated"}, 0.3),
    "blocked": (0.0, {"blocked": 1.0, "speed": 0.0}, {"terminated"}, 0.0),
    "off road": (0.2, {"off_road": 1.0, "outside_lanes": 1.0}, {"terminated"}, 0.0),
    "deviation": (0.1, {"route_deviation": 1.0, "lateral_offset": 0.875}, {"terminated"}, 0.05),
    "red light": (0.3, {"red_light": 1.0}, {"terminated"}, -0.7),
    "collision": (0.3, {"collision": 1.0, "ttc_active": 1.0}, {"terminated"}, -0.85),
    "collision on the last metre": (0.2, {"collision": 1.0}, {"terminated", "success"}, -0.8),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_the_hint_is_taken_off_for_collisions_and_red_lights_alone(name):
    delta, change, flags, expected = ENDINGS[name]
    clean = {**CLEAN, "delta_route_completion": 0.1}
    # The episode's end, and the first step of the next one.
    rows = [clean, {**CLEAN, **change, "delta_route_completion": delta}, clean]
    ended = {flag: torch.tensor([[False], [True], [False]]) for flag in flags}
    terms = RouteCompletionReward()(
        rollout_of(rows, episode=torch.tensor([[0], [0], [1]]), **ended)
    )
    assert terms.total.flatten().tolist() == pytest.approx([0.1, expected, 0.1], abs=1e-6)
    assert terms.terms["terminal_hint"].count_nonzero() == (expected < 0)


@given(
    delta=st.floats(0, 5),
    speed=st.floats(0, 40),
    limit=st.floats(0, 30),
    offset=st.floats(-10, 10),
    width=st.floats(0, 5),
    comfort=st.integers(0, 6),
    flags=st.tuples(*[st.booleans()] * 3),
)
def test_soft_infractions_only_reduce_progress(delta, speed, limit, offset, width, comfort, flags):
    outside, ttc, junction = flags
    found = float(
        step_reward(
            delta,
            outside_lanes=outside,
            speed=speed,
            speed_limit=limit,
            ttc_active=ttc,
            comfort_active=comfort,
            lateral_offset=offset,
            lane_width=width,
            in_junction=junction,
            collision=False,
            red_light=False,
        )
    )
    assert math.isfinite(found)
    assert -1e-12 <= found <= delta + 1e-12


def test_arguments_broadcast():
    found = step_reward(np.full((4, 1), 0.2), **{**CLEAN, "comfort_active": np.arange(7.0)})
    assert found.shape == (4, 7)
    assert float(found[0, 6]) == pytest.approx(0.1)


def test_survival_and_hard_only_options():
    rows = [{**CLEAN, "delta_route_completion": 0.2, "ttc_active": 1.0, "collision": 1.0}]
    config = RouteCompletionConfig(
        terminal_hint=0.5, survival_reward=0.0001, soft_infractions=False
    )
    assert float(RouteCompletionReward(config)(rollout_of(rows)).total) == pytest.approx(
        0.2 - 0.5 + 0.0001
    )
    with pytest.raises(DrivingRewardError, match="terminal_hint is -1"):
        RouteCompletionConfig(terminal_hint=-1)


def test_idle_slots_pay_nothing():
    rollout = rollout_of([{**CLEAN, "delta_route_completion": 0.2}] * 2)
    rollout.valid = torch.tensor([[True], [False]])
    assert RouteCompletionReward()(rollout).total.flatten().tolist() == pytest.approx([0.2, 0.0])


def test_roach_desired_speed_is_the_lowest_allowed():
    far = 1000.0
    assert float(roach_desired_speed(far, far, far, far)) == 6.0
    assert float(roach_desired_speed(10.5, far, far, far)) == pytest.approx(3.0)
    assert float(roach_desired_speed(8.0, far, far, far)) == 0.0
    assert float(roach_desired_speed(far, 8.5, far, far)) == pytest.approx(3.0)
    assert float(roach_desired_speed(far, far, 6.0, far)) == pytest.approx(1.2)
    assert float(roach_desired_speed(far, far, far, 6.0)) == pytest.approx(3.0)


def test_roach_reward_by_hand():
    free = dict.fromkeys(("vehicle_gap", "walker_gap", "red_light_gap", "stop_sign_gap"), 1000.0)
    rows = [
        {**free, "speed": 6.0, "route_offset": 0.0, "heading_error": 0.0},
        {**free, "speed": 3.0, "route_offset": -1.0, "heading_error": -0.2, "steer_change": 0.02},
        {**free, "speed": 2.0, "collision": 1.0},
        {**free, "speed": 6.0},
    ]
    rows = [{**dict.fromkeys(RoachReward.signals, 0.0), **row} for row in rows]
    ends = torch.tensor([[False], [False], [True], [True]])
    won = torch.tensor([[False], [False], [False], [True]])
    terms = RoachReward()(rollout_of(rows, terminated=ends, success=won))
    expected = [1.0, 0.5 - 0.5 - 0.2 - 0.1, (1 - 4 / 6) - 1 - 2.0, 1.0]
    assert terms.total.flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_additive_reward_by_hand():
    full = (5 * 0.2 + (5 + 4 + 2) * 0.05) / 16
    assert float(additive_step_reward(0.2, **CLEAN)) == pytest.approx(full)
    worst = {**CLEAN, "speed": 9.0, "ttc_active": 1.0, "comfort_active": 2.0, "collision": 1.0}
    assert float(additive_step_reward(0.2, **worst)) == pytest.approx(5 * 0.2 / 16 - 1)
    rollout = rollout_of([{**CLEAN, "delta_route_completion": 0.2}])
    assert float(AdditiveReward()(rollout).total) == pytest.approx(full)


def test_nuplan_lane_distance_by_hand():
    assert float(nuplan_lane_distance(0.5, 3.5, False)) == 1.0
    assert float(nuplan_lane_distance(1.75, 3.5, False)) == pytest.approx(0.5, abs=1e-6)
    assert float(nuplan_lane_distance(1.125, 3.5, False)) == pytest.approx(0.75, abs=1e-6)
    assert float(nuplan_lane_distance(1.75, 3.5, True)) == 1.0


def test_nuplan_variants_by_hand():
    assert float(nuplan_step_reward(0.01, factor=0.5, terminated=False)) == pytest.approx(0.5)
    assert float(nuplan_step_reward(0.01, factor=0.5, terminated=True)) == 0.0
    survival = nuplan_step_reward(0.01, factor=0.5, terminated=False, variant="survival")
    assert float(survival) == pytest.approx(100 * (0.8 * 0.005 + 0.2 / 150))
    weighted = nuplan_step_reward(
        0.01, factor=0.5, terminated=False, variant="weighted", ttc=0.0, comfort=1.0, slow=0.5
    )
    assert float(weighted) == pytest.approx(100 * 0.5 * (0.05 + (4 * 0.5 + 2) / 150) / 16)
    with pytest.raises(DrivingRewardError, match="'other'"):
        nuplan_step_reward(0.01, factor=1, terminated=False, variant="other")  # type: ignore[arg-type]


def test_nuplan_remembers_violations_within_an_episode_and_across_rollouts():
    row = {**CLEAN, "delta_route_completion": 1.0}
    first = rollout_of([row, {**row, "ttc_active": 1.0}, row])
    reward = NuplanReward(NuplanConfig("regular"))
    assert reward(first).total.flatten().tolist() == pytest.approx([1.0, 0.5, 0.5])
    saved = reward.state_dict()
    second = rollout_of([row, row], episode=torch.tensor([[0], [1]]))
    again = NuplanReward()
    again.load_state_dict(saved)
    assert again(second).total.flatten().tolist() == pytest.approx([0.5, 1.0])


@pytest.mark.parametrize("changes", [{"survival_ratio": 1.5}, {"steps": 0}])
def test_nuplan_config_refuses(changes):
    with pytest.raises(DrivingRewardError):
        NuplanConfig(**changes)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("route_completion", RouteCompletionReward),
        ("roach", RoachReward),
        ("additive", AdditiveReward),
        ("nuplan", NuplanReward),
    ],
)
def test_each_can_be_asked_for_by_configuration(kind, expected):
    assert isinstance(make_reward(RewardConfig(kind), 0.99, "bootstrap"), expected)
