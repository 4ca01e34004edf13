"""SRPO's reward of rollouts: who is judged with whom, and what is kept between rollouts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from robo.errors import StoreError
from robo.perception.video import PixelEncoder
from robo.rewards.base import Reward
from robo.rewards.config import RewardConfig, make_reward
from robo.rewards.srpo import SRPOError, progress_rewards
from robo.rewards.srpo_config import SRPOConfig
from robo.rewards.srpo_reward import SRPOReward
from robo.rollout import Episode, EpisodeInfo, FinalObservation, Frames, Rollout

TASK = "mujoco/Reach"


def video(length: int, place: int, size: int = 8) -> np.ndarray:
    """A bar that grows from the left to column ``place``."""
    frames = np.zeros((length, size, size, 3), np.uint8)
    for step, column in enumerate(np.linspace(0, place, length).round().astype(int)):
        frames[step, 3, : column + 1] = 255
    return frames


def rollout(places: list[int], won: list[bool], steps: int = 4, first_id: int = 0) -> Rollout:
    """One whole episode per environment, with a frame of every state."""
    envs = len(places)
    done = torch.zeros(steps, envs, dtype=torch.bool)
    done[-1] = True
    success = done & torch.tensor(won)
    ids = torch.arange(first_id, first_id + envs)
    images = torch.from_numpy(np.stack([video(steps + 1, place) for place in places], 1))
    step = torch.arange(steps + 1)[:, None].expand(-1, envs)
    final = step == steps
    frames = Frames(
        {"front": images.flatten(0, 1)},
        step.flatten(),
        torch.arange(envs).expand(steps + 1, -1).flatten(),
        ids.expand(steps + 1, -1).flatten(),
        final.flatten(),
    )
    zero = torch.zeros(steps, envs)
    observation = {"state": torch.zeros(steps, envs, 1)}
    return Rollout(
        observation,
        {"state": torch.zeros(envs, 1)},
        FinalObservation(
            {"state": torch.zeros(envs, 1)}, torch.full((envs,), steps - 1), torch.arange(envs)
        ),
        torch.zeros(steps, envs, 1),
        zero,
        zero,
        success,
        done & ~success,
        success,
        ids.expand(steps, -1).clone(),
        {int(i): EpisodeInfo(TASK) for i in ids},
        frames=frames,
    )


def reward(**settings) -> SRPOReward:
    config = SRPOConfig(size=8, **settings)
    return SRPOReward(PixelEncoder(frames=4, size=8), config, stride=1)


def test_a_failure_is_paid_where_it_ends_by_its_distance():
    made = reward()
    assert isinstance(made, Reward)
    terms = made(rollout([7, 6, 3, 0], [True, False, False, False]))
    assert (terms.total[:-1] == 0).all()
    paid = terms.total[-1]
    assert paid[0] == 1 and paid[1] > paid[2] > paid[3] > 0
    assert_close(terms.total, terms.terms["success"] + terms.terms["progress"])
    by_hand = progress_rewards(
        made.encoder.embed([{"front": video(5, place)} for place in (7, 6, 3, 0)]),
        torch.tensor([True, False, False, False]),
        torch.zeros(4).long(),
    )
    assert_close(paid, by_hand)
    assert made.report[TASK].failures == 3


def test_rollouts_of_one_initial_state_have_their_own_embeddings():
    made = reward()
    made(rollout([7, 6, 6], [True, False, False]))
    assert (made.cache.misses, made.cache.hits) == (2, 1)  # pixel for pixel the same
    parts = made.encoder.embed([{"front": video(5, 7)}, {"front": video(5, 6)}])
    assert not torch.equal(parts[0], parts[1])


@pytest.mark.parametrize("policy", ["zero", "bank"])
def test_a_batch_without_success(policy):
    made = reward(no_success=policy)
    failures = rollout([6, 3], [False, False], first_id=10)
    assert (made(failures).total == 0).all()  # nothing is known yet
    made(rollout([7, 5], [True, False], first_id=20))
    paid = made(failures).total[-1]
    if policy == "zero":
        assert (paid == 0).all()
    else:
        assert paid[0] > paid[1] > 0


def test_demonstrations_seed_the_bank():
    made = reward()
    info, none = EpisodeInfo(TASK), np.zeros((4, 1), np.float32)
    demo = Episode(info, {}, none, none[:, 0], True, True, frames={"front": video(5, 7)})
    demo.frame_step = np.arange(5)
    assert made.seed([demo]) == 1
    paid = made(rollout([6, 3], [False, False])).total[-1]
    assert paid[0] > paid[1] > 0
    demo.success = False
    with pytest.raises(StoreError, match="no demonstration is a success"):
        made.seed([demo])


def test_a_cut_rollout_pays_the_same_and_resumes_exactly():
    whole = rollout([7, 6, 2], [True, False, False])
    expected = reward()(whole).total
    made, parts = reward(), (slice(0, 2), slice(2, 4))
    paid = []
    for part in parts:
        piece = cut(whole, part)
        terms = made(piece)
        paid.append(terms.total)
        again = reward()
        again.load_state_dict(made.state_dict())
        made = again
    assert_close(torch.cat(paid), expected)


def cut(whole: Rollout, part: slice) -> Rollout:
    frames = whole.frames
    assert frames is not None
    here = (frames.step >= part.start) & (frames.step <= part.stop)
    rows = frames.rows(here)
    rows.step = rows.step - part.start
    last = part.stop == whole.shape[0]
    final = whole.final_observation
    ended = FinalObservation(final.observation, final.step - part.start, final.env)
    none = FinalObservation({"state": torch.zeros(0, 1)}, final.step[:0], final.env[:0])
    names = ("action", "log_prob", "env_reward", "terminated", "truncated", "success", "episode")
    return Rollout(
        observation={"state": whole.observation["state"][part]},
        last_observation=whole.last_observation,
        final_observation=ended if last else none,
        episodes=whole.episodes,
        frames=rows,
        **{name: getattr(whole, name)[part] for name in names},
    )


def test_ranks_are_judged_together():
    everyone = rollout([7, 6, 4, 1], [True, False, False, False])
    expected = reward()(everyone).total[-1]
    halves = [rollout([7, 6], [True, False]), rollout([4, 1], [False, False], first_id=2)]
    heard: list = []
    for half in halves:  # what each rank would tell

        def listen(value, heard=heard):
            heard.append(value)
            return [value]

        made = reward()
        made.gather = listen
        made(half)
    for rank, half in enumerate(halves):
        made = reward()
        made.gather, made.rank = lambda value, heard=heard: heard, rank
        assert_close(made(half).total[-1], expected[2 * rank : 2 * rank + 2])


def test_idle_slots_and_empty_videos_get_nothing():
    batch = rollout([7, 6, 3], [True, False, False])
    batch.valid = torch.ones(batch.shape, dtype=torch.bool)
    batch.valid[:, 2] = False
    paid = reward()(batch).total
    assert (paid[:, 2] == 0).all() and paid[-1, 1] == pytest.approx(0.4)
    frames = batch.frames
    assert frames is not None
    batch.frames = frames.rows(frames.env != 1)
    paid = reward()(batch).total
    assert paid[-1].tolist() == [1.0, 0.0, 0.0]


def test_the_binary_reward_needs_no_frames():
    made = reward(progress=False)
    assert made.camera is None
    batch = rollout([7, 6], [True, False])
    batch.frames = None
    assert made(batch).total[-1].tolist() == [1.0, 0.0]
    with pytest.raises(SRPOError, match="no camera frames"):
        reward()(batch)


def test_where_references_came_from_is_counted_and_the_first_fallback_is_said(caplog):
    made = reward()
    made(rollout([6, 3], [False, False], first_id=10))
    made(rollout([7, 5, 6], [True, True, False], first_id=20))
    made(rollout([6, 3], [False, False], first_id=30))
    assert made.counts == {"judged": 3, "fallback": 2, "from_bank": 1, "no_reference": 1}
    # Without any set-up of logs: once for a task, not at every rollout.
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert TASK in said and "fallback: 2 are too few" in said
    other = reward()
    nothing = (torch.zeros(0, made.encoder.dim), *torch.zeros(2, 0).bool(), [])
    other.rank, other.gather = 1, lambda value: [nothing, value]
    other(rollout([7, 5, 6], [True, True, False]))
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def test_counts_go_on_after_a_resume():
    made, parts = reward(), [rollout([6, 3], [False] * 2, first_id=4 * i) for i in range(2)]
    made(parts[0])
    saved = made.state_dict()
    resumed, older = reward(), reward()
    resumed.load_state_dict(saved)
    older.load_state_dict({name: part for name, part in saved.items() if name != "counts"})
    for each in (made, resumed, older):
        each(parts[1])
    assert resumed.counts == made.counts
    assert made.counts["judged"] == made.counts["no_reference"] == 2
    assert older.counts["judged"] == 1  # an earlier version saved none
    assert saved["counts"]["judged"] == 1


def test_composed_rewards_hear_the_other_ranks():
    config = RewardConfig(
        kind="composed", composed="delta(srpo:pixels,srpo.size=8)", stride=1, device="cpu"
    )
    heard: list = []

    def gather(value):
        heard.append(value)
        return [value, value]

    made = make_reward(config, 0.99, "keep", gather, rank=1)
    inner = made.inner["dense"]  # type: ignore[attr-defined]
    assert (inner.gather, inner.rank) == (gather, 1)
    made(rollout([7, 6], [True, False]))
    assert len(heard) == 1 and inner.report[TASK].failures == 2


def test_by_configuration():
    made = make_reward(RewardConfig(kind="srpo", stride=3), 0.99, "keep")
    assert isinstance(made, SRPOReward) and made.camera is not None
    assert (made.camera.stride, made.camera.views, made.camera.height) == (3, ("front",), 64)
