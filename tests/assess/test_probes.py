"""Probes catch rewards that are made to be caught, and spare those that are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robo.assess.probes import PROBES, ProbeOptions, reading_stride, run_probes
from robo.errors import StoreError
from robo.rewards.naive import NaiveProgressReward
from robo.rewards.potential import ProgressDifferenceReward, SignalPotential
from robo.rewards.route_completion import RouteCompletionConfig, RouteCompletionReward
from robo.rewards.shaping import ShapedReward
from robo.rewards.success import Memoryless, SuccessReward
from robo.rollout import RewardTerms


def found(reward, episodes):
    return {probe.name: probe for probe in run_probes(reward, episodes)}


def caught(reward, episodes):
    return {name for name, probe in found(reward, episodes).items() if probe.caught}


@pytest.mark.parametrize("pixels", [False, True])
def test_raw_progress_is_caught_by_loop_and_idle(episodes, brightness, pixels):
    potential = brightness if pixels else SignalPotential
    assert caught(NaiveProgressReward(potential()), episodes) == {"loop_income", "idle_income"}
    probes = found(NaiveProgressReward(potential()), episodes)
    # At 80 % of the way, standing still pays 0.8 a step; a success is paid 10.5 + 1 in all.
    assert probes["idle_income"].income == pytest.approx(0.8 / 11.5, rel=0.02)
    assert probes["idle_income"].preferred == probes["loop_income"].preferred == 1


@pytest.mark.parametrize("pixels", [False, True])
def test_shaping_and_success_are_not_caught(episodes, brightness, pixels):
    potential = brightness if pixels else SignalPotential
    shaped = ShapedReward(SuccessReward(), potential(), 0.99)
    assert caught(shaped, episodes) == set()
    assert found(shaped, episodes)["loop_income"].income < 0
    assert caught(SuccessReward(), episodes) == set()
    assert caught(ProgressDifferenceReward(SuccessReward(), potential()), episodes) == set()


def test_frames_at_a_stride_tell_the_same(make_episode, brightness):
    up = np.linspace(0, 1, 31)
    stored = [make_episode(up, True, stride=3), make_episode(np.minimum(up, 0.4), stride=3)]
    shaped = ShapedReward(SuccessReward(), brightness(stride=3), 0.99)
    assert caught(shaped, stored) == set()
    assert found(shaped, stored)["loop_income"].income < 0
    naive = found(NaiveProgressReward(brightness(stride=3)), stored)
    # Held between frames, the loop from 80 % to 40 % and back is worth about 60 % a step.
    assert naive["loop_income"].income == pytest.approx(0.6 / 15, rel=0.15)


@pytest.mark.parametrize("gamma", [0.9, 0.99, 0.999])
@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("length", [3, 7, 18, 31, 52])
def test_the_phase_of_a_stride_is_no_income(make_episode, brightness, length, pixels, gamma):
    rise = np.linspace(0, 1, length + 1) ** 2
    stored = [make_episode(rise, True), make_episode(np.minimum(rise, 0.4))]
    potential = brightness if pixels else SignalPotential
    shaped = ShapedReward(SuccessReward(), potential(stride=5), gamma)
    probes = {p.name: p for p in run_probes(shaped, stored, ProbeOptions(gamma=gamma))}
    for name in ("loop_income", "idle_income"):
        assert not probes[name].caught and probes[name].income <= 0
    plain = found(ProgressDifferenceReward(SuccessReward(), potential(stride=5)), stored)
    assert plain["loop_income"].income == pytest.approx(0, abs=1e-9)
    naive = found(NaiveProgressReward(potential(stride=5)), stored)
    assert naive["loop_income"].caught and naive["loop_income"].income > 0


def test_standing_is_counted_once_a_long_stride_has_seen_it(make_episode):
    stored = [make_episode(np.linspace(0, 1, 71), True), make_episode(np.linspace(0, 0.4, 71))]
    shaped = ShapedReward(SuccessReward(), SignalPotential(stride=45), 0.99)
    assert caught(shaped, stored) == set()
    assert "idle_income" in caught(NaiveProgressReward(SignalPotential(stride=45)), stored)


def test_the_rhythm_of_a_reward_is_that_of_all_its_parts(brightness):
    inner = ShapedReward(SuccessReward(), brightness(stride=4), 0.99)
    assert reading_stride(inner) == 4
    assert reading_stride(ShapedReward(inner, SignalPotential(stride=6), 0.99)) == 12
    assert reading_stride(SuccessReward()) == 1


def test_a_probe_that_cannot_be_failed_does_not_apply(episodes):
    class Bounded(Memoryless):
        """Pays progress, and a failure at most ``failure_limit``."""

        signals = ("progress",)

        def __init__(self, failure_limit):
            self.failure_limit = failure_limit

        def __call__(self, rollout):
            end = rollout.signals["progress"] * rollout.done
            paid = torch.where(rollout.success, end, end.clamp(max=self.failure_limit))
            return RewardTerms(paid, {"paid": paid})

    bounded = found(Bounded(0.8), episodes)["near_miss"]
    assert not bounded.applies and "0.8 at most" in bounded.note
    fooled = found(Bounded(1.0), episodes)["near_miss"]  # a bound that does not bind is none
    assert fooled.applies


def test_probes_that_do_not_apply_say_why(episodes):
    probes = found(SuccessReward(), episodes)
    assert list(probes) == list(PROBES)
    assert not probes["blank_camera"].applies and "no pictures" in probes["blank_camera"].note
    assert "instruction" in probes["wrong_instruction"].note


class Flawed:
    """A potential of pictures with a flaw of one's choice."""

    def __init__(self, brightness, flaw):
        self.inner, self.flaw = brightness(), flaw
        self.camera, self.signals, self.stride = self.inner.camera, (), 1
        self.state_dict, self.load_state_dict = self.inner.state_dict, self.inner.load_state_dict

    def __call__(self, rollout):
        views = {v: x.clone() for v, x in rollout.frames.views.items()}
        for x in views.values():
            self.flaw(x)
        before, rollout.frames.views = rollout.frames.views, views
        track = self.inner(rollout)
        rollout.frames.views = before
        return track


def dark_is_done(images):
    images[(images == 0).all((1, 2, 3)).all() * torch.ones(len(images), dtype=torch.bool)] = 255


def photograph_is_done(images):
    images[(images[:, :4, :4] == 255).all(3).all(2).all(1)] = 255


@pytest.mark.parametrize(
    ("flaw", "name"),
    [(dark_is_done, {"frozen_frame", "blank_camera"}), (photograph_is_done, {"goal_pasted"})],
)
def test_flaws_of_pictures_are_found(episodes, brightness, flaw, name):
    reward = ShapedReward(SuccessReward(), Flawed(brightness, flaw), 0.99)
    assert caught(reward, episodes) == name


def test_a_lost_view_is_told(episodes, brightness):
    probes = found(ShapedReward(SuccessReward(), brightness(), 0.99), episodes)
    dropped = probes["view_dropped"]
    assert dropped.lost == 1 and dropped.fooled == 0 and dropped.note in ("front", "side")
    assert dropped.change == pytest.approx(0.75, abs=0.02)  # 0.5 of 1 and 0.25 of 0.5, span 0.5
    assert probes["view_swapped"].change == 0


class Listens(Memoryless):
    """Pays at the end where the instruction names the cube."""

    def __init__(self, words):
        self.words = words

    def __call__(self, rollout):
        paid = torch.zeros(rollout.shape)
        for step, env in rollout.done.nonzero().tolist():
            info = rollout.episodes[int(rollout.episode[step, env])]
            right = rollout.signals["progress"][step, env] >= 1
            paid[step, env] = float(right and any(w in info.instruction for w in self.words))
        return RewardTerms(paid, {"paid": paid})


def test_wrong_instructions(episodes, make_episode):
    other = [make_episode(np.linspace(0, 1, 21), True, instruction="open the door")]
    both = episodes + other
    assert "wrong_instruction" not in caught(Listens(["cube"]), episodes)
    assert found(Listens(["cube"]), episodes)["wrong_instruction"].applies
    assert "wrong_instruction" in caught(Listens(["cube", "o"]), [*both]) or (
        not found(Listens(["cube", "o"]), both)["wrong_instruction"].applies
    )


def test_a_progress_model_that_only_rises_is_caught_backwards(episodes):
    class Clock(Memoryless):
        """Pays for time."""

        def __call__(self, rollout):
            paid = torch.ones(rollout.shape)
            return RewardTerms(paid, {"paid": paid})

    assert {"time_reversed", "idle_income", "loop_income"} <= caught(Clock(), episodes)


def test_route_completion_has_no_loop_but_survival_pays_for_idling(make_episode):
    length = 20
    neutral = dict.fromkeys(
        ("outside_lanes", "ttc_active", "comfort_active", "lateral_offset", "in_junction"),
        np.zeros(length),
    )
    ends = dict.fromkeys(("collision", "red_light"), np.zeros(length))
    drive = make_episode(
        np.linspace(0, 1, length + 1),
        True,
        route_completion=np.linspace(5, 100, length),
        delta_route_completion=np.full(length, 5),
        speed=np.full(length, 5),
        speed_limit=np.full(length, 8),
        lane_width=np.full(length, 3),
        **neutral,
        **ends,
    )
    assert caught(RouteCompletionReward(), [drive]) == set()
    survival = RouteCompletionReward(RouteCompletionConfig(survival_reward=0.1))
    assert caught(survival, [drive]) == {"loop_income", "idle_income"}


def test_without_a_success_there_is_nothing_to_probe(make_episode):
    with pytest.raises(StoreError, match="at least one success"):
        run_probes(SuccessReward(), [make_episode([0, 0.1])])
