from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch

from robo.errors import RoboError
from robo.rewards.grm.anchors import NEEDS
from robo.rewards.grm.potential import GRMPotential
from robo.rewards.grm.score import score_episode
from robo.rewards.potential import Potential, PotentialError
from robo.rollout import Episode, EpisodeInfo, FinalObservation, Frames, Rollout

MODES = list(NEEDS)


class Stream:
    """Endless play of N environments, from which rollouts are cut anywhere."""

    def __init__(self, draw, steps=14, envs=3, stride=3, seed=0):
        rng = np.random.default_rng(seed)
        self.steps, self.envs, self.stride = steps, envs, stride
        self.episode = np.zeros((steps + 1, envs), int)
        self.age = np.zeros((steps + 1, envs), int)
        self.done = rng.random((steps, envs)) < 0.2
        self.terminated = self.done & (rng.random((steps, envs)) < 0.5)
        self.episode[0] = np.arange(envs)
        following = envs
        for t in range(steps):
            for env in range(envs):
                ended = self.done[t, env]
                self.episode[t + 1, env] = following if ended else self.episode[t, env]
                self.age[t + 1, env] = 0 if ended else self.age[t, env] + 1
                following += ended
        self.draw = draw

    def shot(self, episode, age):
        position = np.random.default_rng([episode, age]).uniform(0, 1, 2)
        return self.draw(position, 32)

    def cut(self, first, last):
        """Steps first ... last-1 as a rollout of their own."""
        rows = []
        for t in range(first, last + 1):
            for env in range(self.envs):
                if t > first and self.done[t - 1, env]:
                    old = self.episode[t - 1, env]
                    shot = self.shot(old, self.age[t - 1, env] + 1)
                    rows.append((t - first, env, old, True, shot))
                if self.age[t, env] % self.stride == 0:
                    shot = self.shot(self.episode[t, env], self.age[t, env])
                    rows.append((t - first, env, self.episode[t, env], False, shot))
        frames = Frames(
            {
                view: torch.from_numpy(np.stack([row[4][view] for row in rows]))
                if rows
                else torch.zeros((0, 32, 32, 3), dtype=torch.uint8)
                for view in ("front", "side", "wrist")
            },
            *(torch.tensor([row[k] for row in rows], dtype=torch.int64) for k in range(3)),
            torch.tensor([row[3] for row in rows], dtype=torch.bool),
        )
        done = torch.from_numpy(self.done[first:last])
        at, env = torch.nonzero(done, as_tuple=True)
        terminated = torch.from_numpy(self.terminated[first:last])
        zero = torch.zeros(done.shape)
        ids = set(self.episode.ravel().tolist())
        return Rollout(
            observation={},
            last_observation={},
            final_observation=FinalObservation({}, at, env),
            action=zero[..., None],
            log_prob=zero,
            env_reward=zero,
            terminated=terminated,
            truncated=done & ~terminated,
            success=terminated,
            episode=torch.from_numpy(self.episode[first:last]),
            episodes={index: EpisodeInfo("synthetic/Reach") for index in ids},
            frames=frames,
        )


def play(potential, stream, cuts):
    """Potentials of the whole stream, of final rows too, from rollouts between ``cuts``."""
    bounds = [0, *cuts, stream.steps]
    states, finals = [], []
    for first, last in itertools.pairwise(bounds):
        track = potential(stream.cut(first, last).check())
        if states:
            torch.testing.assert_close(track.at_state[0], states[-1])  # both saw the same value
            states.pop()
        states.extend(track.at_state)
        finals.append(track.at_final)
    return torch.stack(states), torch.cat(finals)


@pytest.fixture
def stream(synthetic):
    return Stream(synthetic.draw)


@pytest.mark.parametrize("mode", MODES)
def test_cuts_anywhere_change_nothing(mode, small_grm, stream):
    whole, final = play(GRMPotential(small_grm, mode, 3), stream, [])
    assert len(final) == stream.done.sum() > 2
    # It does say something; "consistent" freezes where an untrained network contradicts itself.
    assert whole.std() > (0.001 if mode == "consistent" else 0.02)
    every = [[cut] for cut in range(1, stream.steps)]
    for cuts in [*every, list(range(1, stream.steps)), [4, 5, 11]]:
        parts, part_final = play(GRMPotential(small_grm, mode, 3), stream, cuts)
        torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)
        torch.testing.assert_close(part_final, final, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", MODES)
def test_rollout_and_stored_episode_agree(mode, small_grm, stream):
    track = GRMPotential(small_grm, mode, 3)(stream.cut(0, stream.steps))
    done = np.flatnonzero(stream.done[:, 0])
    first, last = (0, done[0]) if len(done) else (0, stream.steps - 1)
    length = int(last) - first + 1
    at = [s for s in range(length) if s % 3 == 0] + [length]
    shots = [stream.shot(int(stream.episode[0, 0]), state) for state in at]
    episode = Episode(
        EpisodeInfo("synthetic/Reach"),
        {},
        np.zeros((length, 1)),
        np.zeros(length),
        True,
        True,
        frames={view: np.stack([shot[view] for shot in shots]) for view in shots[0]},
        frame_step=np.array(at),
    )
    score = score_episode(small_grm, episode, mode)
    assert score.potential[:length] == pytest.approx(track.at_state[:length, 0].numpy(), abs=1e-5)
    assert len(done) and score.final == pytest.approx(float(track.at_final[_row(stream)]), abs=1e-5)


def _row(stream):
    """Row of the first ending of environment 0 among the final rows."""
    step, env = np.nonzero(stream.done)
    return int(np.flatnonzero(env == 0)[0]) if len(step) else 0


def test_a_model_of_several_tasks_compares_with_the_task_that_is_played(
    small_grm, stream, tmp_path
):
    shown = small_grm.reference
    grm = copy.deepcopy(small_grm)
    swapped = copy.deepcopy({"start": shown["goal"], "goal": shown["start"]})
    grm.set_task("synthetic/Other", "other", swapped)
    grm.set_task("synthetic/Reach", "reach", copy.deepcopy(shown))
    grm.use_task("synthetic/Other")
    grm.save(tmp_path)
    followed = GRMPotential.load(tmp_path, "backward", 3)
    named = GRMPotential.load(tmp_path, "backward", 3, task="synthetic/Reach")
    found, wanted = (play(one, stream, [5])[0] for one in (followed, named))
    torch.testing.assert_close(found, wanted)
    assert followed.grm.task == "synthetic/Reach" and followed.invalid == 0
    other = stream.cut(0, 5)
    for index in list(other.episodes):
        other.episodes[index] = EpisodeInfo("synthetic/None")
    with pytest.raises(RoboError, match="no reference frames of 'synthetic/None'"):
        GRMPotential.load(tmp_path, "backward", 3)(other)
    other.episodes[0] = EpisodeInfo("synthetic/Reach")
    with pytest.raises(RoboError, match="task by task"):
        GRMPotential.load(tmp_path, "backward", 3)(other)


@pytest.mark.parametrize("mode", MODES)
def test_resume_is_exact(mode, small_grm, stream):
    one = GRMPotential(small_grm, mode, 3)
    one(stream.cut(0, 5))
    state = copy.deepcopy(one.state_dict())
    other = GRMPotential(small_grm, mode, 3)
    other.load_state_dict(state)
    for first, last in ((5, 9), (9, 14)):
        mine, theirs = (part(stream.cut(first, last)) for part in (one, other))
        assert torch.equal(mine.at_state, theirs.at_state)
        assert torch.equal(mine.at_final, theirs.at_final)
    assert one.rows == other.rows
    fresh = GRMPotential(small_grm, mode, 3)
    fresh.load_state_dict(GRMPotential(small_grm, mode, 3).state_dict())
    fresh(stream.cut(0, 3))


@pytest.mark.parametrize("max_batch", [1, 7])
def test_batches_are_bounded_and_do_not_matter(max_batch, small_grm, stream, monkeypatch):
    rollout = stream.cut(0, stream.steps)
    whole = GRMPotential(small_grm, "mean", 3)(rollout)
    potential = GRMPotential(small_grm, "mean", 3, max_batch=max_batch)
    sizes, encode = [], small_grm.encode
    monkeypatch.setattr(
        small_grm, "encode", lambda views: sizes.append(len(views["front"])) or encode(views)
    )
    track = potential(rollout)
    assert max(sizes) == max_batch and sum(sizes) == len(rollout.frames)
    torch.testing.assert_close(track.at_state, whole.at_state, atol=1e-5, rtol=0)


def test_invalid_hops_keep_the_last_potential_and_are_counted(small_grm, stream, monkeypatch):
    potential = GRMPotential(small_grm, "backward", 3)
    good = GRMPotential(small_grm, "backward", 3)(stream.cut(0, stream.steps))
    rollout = stream.cut(0, stream.steps)
    frames = rollout.frames
    env = int(torch.nonzero(rollout.episode[3] == rollout.episode[0])[0])
    bad = (frames.step == 3) & (frames.env == env) & ~frames.final
    assert bad.sum() == 1
    honest = potential.scorer.hops

    def broken(*arguments):
        hops = honest(*arguments)
        hops.backward[bad] = float("nan")
        return hops

    monkeypatch.setattr(potential.scorer, "hops", broken)
    track = potential(rollout)
    assert potential.invalid == 1
    assert track.at_state[3, env] == track.at_state[0, env] == good.at_state[0, env] > 0
    assert good.at_state[3, env] != good.at_state[0, env]
    others = [other for other in range(stream.envs) if other != env]
    assert torch.equal(track.at_state[:, others], good.at_state[:, others])


def test_rows_and_invalid_answers_are_counted_for_the_log(small_grm, stream):
    from robo.rewards.shaping import ShapedReward
    from robo.rewards.success import SuccessReward

    potential = GRMPotential(small_grm, "backward", 3)
    reward = ShapedReward(SuccessReward(), potential, 0.99)
    reward(stream.cut(0, stream.steps))
    assert reward.counts == {"rows": potential.rows, "invalid": 0} and potential.rows > 10


def test_it_is_a_potential_with_the_models_camera(small_grm, stream, tmp_path):
    small_grm.save(tmp_path)
    potential = GRMPotential.load(tmp_path, stride=4)
    assert isinstance(potential, Potential)
    assert potential.camera is not None
    assert potential.camera.views == small_grm.config.views
    assert (potential.camera.height, potential.camera.width, potential.camera.stride) == (32, 32, 4)
    rollout = stream.cut(0, 4)
    rollout.frames = None
    with pytest.raises(PotentialError, match="no camera frames"):
        potential(rollout)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"mode": "best"}, "best"), ({"stride": 0}, "stride"), ({"max_batch": 0}, "max_batch")],
)
def test_bad_options_are_refused(small_grm, options, words):
    with pytest.raises(RoboError, match=words):
        GRMPotential(small_grm, **options)
