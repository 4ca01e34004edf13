"""A reward's state goes on with another number of ranks as it would have with the same."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from robo.policies.rank_checkpoint import load_run
from robo.policies.resharding import own_slice
from robo.rewards.driving import NuplanConfig, NuplanReward
from robo.rewards.grm.potential import GRMPotential
from robo.rewards.language_goal import CenterSpread
from robo.rewards.learned import restore_learned
from robo.rewards.potential import PotentialReward, SignalPotential
from robo.rewards.robust.squash import SquashedReward
from robo.rewards.shaping import ShapedReward
from robo.rewards.success import EnvironmentReward, SuccessReward
from robo.rewards.threshold import GRMThresholdReward
from robo.rollout import EpisodeInfo, FinalObservation, Rollout
from tests.policies.test_trainer import walk_trainer
from tests.rewards.grm.conftest import small_grm, synthetic
from tests.rewards.grm.test_grm_potential import Stream
from tests.rewards.robust.conftest import Given
from tests.rewards.test_route_completion import CLEAN
from tests.rewards.test_srpo_reward import reward as srpo
from tests.rewards.test_srpo_reward import rollout as judged

__all__ = ["small_grm", "synthetic"]

CUTS = [
    ([(0, 4)], [(0, 2), (2, 4)]),
    ([(0, 4)], [(0, 1), (1, 3), (3, 4)]),
    ([(0, 2), (2, 4)], [(0, 4)]),
    ([(0, 1), (1, 4)], [(0, 2), (2, 4)]),
]
"""Environments of the ranks that save, and of those that go on."""


def columns(rollout: Rollout, first: int, stop: int) -> Rollout:
    """The environments ``first`` ... ``stop - 1`` of a rollout without observations."""
    changes: dict[str, Any] = {
        name: getattr(rollout, name)[:, first:stop]
        for name in ("action", "log_prob", "env_reward", "terminated", "truncated", "success")
    }
    ended = rollout.final_observation
    mine = (ended.env >= first) & (ended.env < stop)
    frames = rollout.frames
    if frames is not None:
        frames = frames.rows((frames.env >= first) & (frames.env < stop))
        frames.env = frames.env - first
    return replace(
        rollout,
        **changes,
        episode=rollout.episode[:, first:stop],
        signals={name: value[:, first:stop] for name, value in rollout.signals.items()},
        final_observation=FinalObservation({}, ended.step[mine], ended.env[mine] - first),
        frames=frames,
    )


def driven(steps: int = 6, envs: int = 4, seed: int = 0) -> tuple[Rollout, Rollout]:
    """Two rollouts, one after the other, of driving signals; some episodes end."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand((2 * steps, envs), generator=generator)

    done = draw(0, 1) < 0.15
    done[steps - 1, 1] = True  # an episode begins where the second rollout does
    before = torch.cat((torch.zeros(1, envs, dtype=torch.int64), done[:-1].long().cumsum(0)))
    episode = before * envs + torch.arange(envs)
    signals = {name: torch.full((2 * steps, envs), value) for name, value in CLEAN.items()}
    signals["ttc_active"] = (draw(0, 1) < 0.2).float()
    signals["comfort_active"] = torch.round(draw(0, 3))
    signals["delta_route_completion"] = draw(0, 1)
    signals["progress"] = draw(0, 1)
    signals["dense"] = draw(-1, 1)
    signals["route_offset"] = draw(-1, 1)

    def part(rows: slice) -> Rollout:
        zero, no = torch.zeros(steps, envs), torch.zeros(steps, envs, dtype=torch.bool)
        step, env = torch.nonzero(done[rows], as_tuple=True)
        return Rollout(
            observation={},
            last_observation={},
            final_observation=FinalObservation({}, step, env),
            action=zero,
            log_prob=zero,
            env_reward=zero,
            terminated=no,
            truncated=done[rows],
            success=no,
            episode=episode[rows],
            episodes={int(i): EpisodeInfo("test/task") for i in episode.unique()},
            signals={name: value[rows] for name, value in signals.items()},
        )

    return part(slice(0, steps)), part(slice(steps, 2 * steps))


class Spread(CenterSpread):
    """The standard deviation of the distances, as a reward."""

    def __call__(self, rollout):
        return super().__call__(rollout, rollout.signals["route_offset"])


def numbers(result: Any) -> torch.Tensor:
    """``[T, N]`` of what a reward or a potential says of a rollout."""
    if isinstance(result, torch.Tensor):
        return result
    return result.total if hasattr(result, "total") else result.at_state


def saved(reward: Any, first: int, stop: int, open_now: torch.Tensor) -> dict[str, Any]:
    """The slice of one rank; ``open_now [N]`` are the episodes of all environments."""
    collector = {"first": first, "episode": open_now[first:stop].tolist(), "env": {}}
    state = copy.deepcopy(reward.state_dict())
    return {"first": first, "stop": stop, "collector": collector, "reward": state}


def goes_on_right(make: Any, one: Rollout, two: Rollout, open_now: torch.Tensor, cut: Any) -> None:
    """Ranks that go on with other environments say what a single process says throughout."""
    whole = make()
    whole(one)
    wanted = numbers(whole(two))
    slices = []
    for first, stop in cut[0]:
        reward = make()
        reward(columns(one, first, stop))
        slices.append(saved(reward, first, stop, open_now))
    for first, stop in cut[1]:
        state = own_slice(slices, first, stop)
        assert state["reward"] is not None and state["learned_from"] is None
        reward = make()
        reward.load_state_dict(state["reward"])
        found = numbers(reward(columns(two, first, stop)))
        # A network's float32 sums depend on the size of its batch.
        torch.testing.assert_close(found, wanted[:, first:stop], rtol=0, atol=2e-5)


REWARDS = {
    "language": lambda: Spread(5),
    "language, as many steps as environments": lambda: Spread(4 + 1),
    "language, no window": lambda: Spread(1),
    "nuplan": lambda: NuplanReward(NuplanConfig("regular")),
    "signal": lambda: ShapedReward(SuccessReward(), SignalPotential(stride=3), 0.99),
    "threshold": lambda: GRMThresholdReward(SignalPotential(stride=2), 0.7),
    "squashed": lambda: SquashedReward(Given(), reference=0.0),
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kind", REWARDS)
def test_what_is_per_environment_is_cut(kind, cut) -> None:
    one, two = driven()
    open_now = two.episode[0]
    goes_on_right(REWARDS[kind], one, two, open_now, cut)


@pytest.mark.parametrize("mode", ["forward", "incremental"])
@pytest.mark.parametrize("cut", CUTS[:2])
def test_tables_of_open_episodes_are_cut_by_membership(small_grm, synthetic, mode, cut) -> None:
    stream = Stream(synthetic.draw, envs=4, seed=5)
    one, two = stream.cut(0, 7), stream.cut(7, 14)
    open_now = torch.from_numpy(stream.episode[7])
    potential = GRMPotential(small_grm, mode, 3)
    potential(one)
    held = potential.state_dict()["open"]["episode"]
    # As many rows as environments, in another order: cut by their length they would be mixed up.
    assert len(held) == 4 and held.tolist() != open_now.tolist()
    goes_on_right(lambda: GRMPotential(small_grm, mode, 3), one, two, open_now, cut)


def test_frames_of_open_episodes_go_where_the_episodes_go() -> None:
    def half(rows: slice, bound: int) -> Rollout:
        """Some steps of all four episodes, which end with step 3."""
        frames = whole.frames
        assert frames is not None
        frames = frames.rows((frames.step >= rows.start) & (frames.step <= bound))
        frames.step = frames.step - rows.start
        names = ("action", "log_prob", "env_reward", "terminated", "truncated", "success")
        parts = {name: getattr(whole, name)[rows] for name in (*names, "episode")}
        end = torch.arange(4 if bound == 4 else 0)
        final = FinalObservation({}, torch.ones_like(end), end)
        return replace(whole, **parts, frames=frames, final_observation=final)

    whole = judged([7, 6, 3, 1], [True, False, True, False])
    one, two = half(slice(0, 2), 2), half(slice(2, 4), 4)
    made = srpo()
    made(one)
    state = saved(made, 0, 4, whole.episode[0])
    assert len(state["reward"]["open"]["episode"]) > 4
    parts = [own_slice([state], first, first + 2) for first in (0, 2)]
    assert parts[1]["reward"]["open"]["env"].unique().tolist() == [0, 1]
    ranks = [
        {"first": first, "stop": first + 2, "reward": part["reward"]}
        | {"collector": {"first": first, "episode": [first, first + 1]}}
        for first, part in zip((0, 2), parts, strict=True)
    ]
    joined = own_slice(ranks, 0, 4)["reward"]["open"]
    order = torch.argsort(joined["env"], stable=True)
    kept = state["reward"]["open"]
    torch.testing.assert_close(
        joined["views"]["front"][order],
        kept["views"]["front"][torch.argsort(kept["env"], stable=True)],
    )
    for first, part in zip((0, 2), parts, strict=True):
        again = srpo()
        again.load_state_dict(part["reward"])
        wanted = srpo()(columns(whole, first, first + 2)).total.sum(0)
        found = again(columns(two, first, first + 2)).total.sum(0)
        torch.testing.assert_close(found, wanted)


def test_what_only_happens_to_be_as_long_is_not_cut() -> None:
    parts = {"episode": torch.arange(4), "value": torch.rand(4), "age": torch.zeros(4)}
    state = {"first": 0, "stop": 4, "collector": {"first": 0, "episode": [0, 1, 2, 3]}}
    shared = {"weights": torch.rand(3, 5), "seen": 7, "bank": {"task": torch.rand(9)}}
    found = own_slice([{**state, "reward": {"carry": parts, **shared}}], 1, 3)["reward"]
    assert found["carry"]["value"].tolist() == parts["value"][1:3].tolist()
    assert found["weights"] is shared["weights"] and found["seen"] == 7
    assert found["bank"]["task"] is shared["bank"]["task"]
    unclear = [{"unclear": value} for value in (torch.rand(4), torch.rand(2, 4), [1, 2, 3, 4])]
    unclear += [{"open": {"rows": torch.rand(4)}}, {"open": [0, 1]}]
    unclear += [{"open": {"episode": torch.arange(3), "rows": torch.rand(4)}}]
    for entry in unclear:
        whole = {"carry": parts, **entry}
        found = own_slice([{**state, "reward": whole}], 1, 3)
        assert found["reward"] is None and found["learned_from"] is whole
        assert [part["env"] for part in found["collector"]["groups"]] == [None]


@pytest.mark.parametrize("kind", ["nuplan", "language"])
def test_checkpoints_of_before_resume_and_are_never_cut_wrongly(kind) -> None:
    one, two = (columns(part, 0, 2) for part in driven(seed=3))
    reward: Any = REWARDS["nuplan"]() if kind == "nuplan" else Spread(3)
    reward(one)
    name, value = ("worst", "_worst") if kind == "nuplan" else ("past", "_past")
    old = {name: getattr(reward, value).clone(), "episode": reward._episode.clone()}
    wanted = numbers(reward(two))
    slices = [{"first": 0, "stop": 2, "reward": old, "collector": {"first": 0, "episode": [0, 1]}}]
    again = REWARDS["nuplan"]() if kind == "nuplan" else Spread(3)
    again.load_state_dict(own_slice(slices, 0, 2)["reward"])
    assert torch.equal(numbers(again(two)), wanted)
    # Both axes have two entries: which one is that of environments cannot be seen.
    assert own_slice(slices, 0, 1)["reward"] is None


def test_what_was_learned_stays_where_open_episodes_cannot_be_shared_out() -> None:
    one, _ = driven()
    slices = []
    for first, stop in ((0, 1), (1, 4)):
        reward = SquashedReward(Given())
        reward(columns(one, first, stop))
        slices.append(saved(reward, first, stop, one.episode[-1]))
    centres = [part["reward"]["sum"] / max(part["reward"]["seen"], 1) for part in slices]
    assert centres[0] != centres[1]
    state = own_slice(slices, 0, 2)
    assert state["reward"] is None and state["learned_from"] is slices[0]["reward"]
    state = own_slice([slices[1], {**slices[0], "first": 4, "stop": 5}], 2, 5)
    again = SquashedReward(Given())
    restore_learned(again, state["learned_from"])
    assert again.centre() == centres[1] != 0
    assert again.state_dict()["memory"] == {}  # nothing is open


def test_references_inside_others_are_restored_without_open_episodes() -> None:
    trained = srpo()
    trained(judged([7, 5], [True, False]))
    state = {"gold": trained.state_dict(), "potential": {}}
    gold = srpo()
    restore_learned(PotentialReward(gold, SignalPotential()), state)  # type: ignore[arg-type]
    assert torch.equal(gold.bank.kept["mujoco/Reach"], trained.bank.kept["mujoco/Reach"])
    assert gold.state_dict()["open"] is None
    assert gold.counts == trained.counts and gold.counts["judged"] == 1


@pytest.mark.filterwarnings("ignore:resuming from fresh episodes")
def test_a_run_goes_on_with_what_its_reward_has_learned(tmp_path) -> None:
    reward, again_reward = (SquashedReward(EnvironmentReward()) for _ in range(2))
    run = walk_trainer(tmp_path, reward=reward)
    run.run()
    state = load_run(run.checkpoints, run.shard)
    state["reward"], state["learned_from"] = None, state["reward"]
    again = walk_trainer(tmp_path / "again", reward=again_reward)
    with pytest.warns(UserWarning, match="what it has learned stays"):
        again.load_state_dict(state)
    assert again_reward.centre() == reward.centre() != 0
    assert again_reward.state_dict()["memory"] == {}
