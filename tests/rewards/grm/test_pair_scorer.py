from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from robo.errors import CheckpointError, RoboError
from robo.rewards.grm.anchors import NEEDS
from robo.rewards.grm.backbone import NO_FRAME
from robo.rewards.grm.compact_backbone import CompactBackbone
from robo.rewards.grm.folder import load_backbone, load_model
from robo.rewards.grm.http_config import HTTPConfig
from robo.rewards.grm.pair_model import PairModel
from robo.rewards.grm.potential import GRMPotential
from robo.rewards.grm.references import goal_looks_like_start, usable_mode
from robo.rewards.grm.score import score_episode
from tests.rewards.grm.test_grm_potential import Stream, play


class Recorded:
    """A backbone that answers by a table of its own and remembers what it was asked."""

    views, size, max_pairs = ("front",), (32, 32), 5

    def __init__(self, answer=0.25):
        self.answer, self.asked = answer, []

    def hops(self, pairs):
        self.asked.append(pairs)
        return torch.full((len(pairs),), self.answer)


def first_reference(grm):
    return {
        kind: {view: image[:1] for view, image in views.items()}
        for kind, views in grm.reference.items()
    }


def as_pair_model(grm, backbone=None):
    own = backbone or CompactBackbone(grm)
    return PairModel(
        HTTPConfig(), own, grm.config.views, grm.size, grm.task, "go", first_reference(grm)
    )


@pytest.mark.parametrize("mode", list(NEEDS))
def test_a_compact_model_asked_by_pairs_scores_as_it_does_by_embeddings(mode, small_grm, synthetic):
    import copy

    alone = copy.deepcopy(small_grm)
    alone.reference = first_reference(small_grm)
    episode = synthetic.episode(7)[0]
    wanted = score_episode(alone, episode, mode, stride=3)
    found = score_episode(as_pair_model(alone), episode, mode, stride=3)
    assert found.progress == pytest.approx(wanted.progress, abs=1e-5)
    assert found.hops.keys() == wanted.hops.keys()


@pytest.mark.parametrize("mode", ["backward", "mean"])
def test_cuts_of_a_rollout_and_a_resumed_run_change_nothing(mode, small_grm, synthetic):
    stream = Stream(synthetic.draw)
    model = as_pair_model(small_grm)
    whole, final = play(GRMPotential(model, mode, 3), stream, [])
    for cuts in ([5], [4, 5, 11], list(range(1, stream.steps))):
        parts, part_final = play(GRMPotential(model, mode, 3), stream, cuts)
        torch.testing.assert_close(parts, whole, atol=1e-4, rtol=0)
        torch.testing.assert_close(part_final, final, atol=1e-4, rtol=0)
    one, other = GRMPotential(model, mode, 3), GRMPotential(model, mode, 3)
    one(stream.cut(0, 6))
    other.load_state_dict(one.state_dict())
    rest = stream.cut(6, stream.steps)
    assert torch.equal(one(rest).at_state, other(rest).at_state)


def test_equal_frames_are_sent_once_and_calls_are_bounded(small_grm, synthetic):
    backbone = Recorded()
    episode = synthetic.episode(1)[0]
    score_episode(as_pair_model(small_grm, backbone), episode, "mean", stride=4)
    assert [len(pairs) for pairs in backbone.asked] == [5, 5, 5, 5, 1]  # 7 frames, 3 modes
    table = backbone.asked[0].frames["front"]
    assert len(table) == 7 + 1  # the START reference; the GOAL's picture is the last frame
    assert set(backbone.asked[0].instruction) == {"go"}
    flat = {row.numpy().tobytes() for row in table}
    assert len(flat) == len(table)


@pytest.mark.parametrize("mode", list(NEEDS))
def test_invalid_answers_hold_the_progress_and_are_counted(mode, small_grm, synthetic):
    model = as_pair_model(small_grm, Recorded(float("nan")))
    score = score_episode(model, synthetic.episode(1)[0], mode, stride=4)
    assert score.progress.tolist() == [0.0] * 7 and score.invalid == 7
    potential = GRMPotential(model, mode, 3)
    stream = Stream(synthetic.draw)
    assert potential(stream.cut(0, stream.steps)).at_state.abs().sum() == 0
    assert potential.invalid == potential.rows > 0


def test_a_missing_goal_is_refused_or_shown_grey(small_grm, synthetic):
    backbone = Recorded()
    model = as_pair_model(small_grm, backbone)
    del model.reference["goal"]
    for mode in ("backward", "mean", "consistent"):
        with pytest.raises(RoboError, match="GOAL image"):
            score_episode(model, synthetic.episode(1)[0], mode)
    for mode in ("forward", "incremental"):
        backbone.asked.clear()
        score_episode(model, synthetic.episode(1)[0], mode, stride=8)
        assert all((pairs.goal == NO_FRAME).all() for pairs in backbone.asked)
    del model.reference["start"]
    with pytest.raises(RoboError, match="START"):
        score_episode(model, synthetic.episode(1)[0], "forward")


def test_a_reference_without_some_views_shows_its_front(small_grm, synthetic):
    model = as_pair_model(small_grm, Recorded())
    model.reference["goal"] = {"front": model.reference["goal"]["front"]}
    score_episode(model, synthetic.episode(1)[0], "backward", stride=8)
    pairs = model.backbone.asked[0]
    row = int(pairs.goal[0])
    assert torch.equal(pairs.frames["side"][row], pairs.frames["front"][row])


def test_a_goal_that_looks_like_the_start_is_noticed(small_grm, synthetic):
    assert not goal_looks_like_start(small_grm.reference)
    same = {"start": small_grm.reference["start"], "goal": small_grm.reference["start"]}
    assert goal_looks_like_start(same)
    noise = np.random.default_rng(0).integers(-6, 7, (4, 32, 32, 3))
    noisy = {
        view: torch.from_numpy(np.clip(image.numpy() + noise, 0, 255).astype(np.uint8))
        for view, image in small_grm.reference["start"].items()
    }
    assert goal_looks_like_start({"start": small_grm.reference["start"], "goal": noisy})
    for mode in NEEDS:
        if mode == "incremental":
            assert usable_mode(mode, same) == mode
            continue
        with pytest.warns(UserWarning, match="looks like the START"):
            assert usable_mode(mode, same) == "incremental"
    import copy

    grm = copy.deepcopy(small_grm)
    grm.reference = same
    with pytest.warns(UserWarning, match="anchors are ignored"):
        potential = GRMPotential(grm, "mean", 3)
    assert potential.mode == potential.scorer.mode == "incremental"
    stream = Stream(synthetic.draw)
    assert bool(potential(stream.cut(0, 6)).at_state.isfinite().all())


def test_zero_and_one_frame_episodes(small_grm, synthetic):
    scorer = as_pair_model(small_grm).scorer("mean", "cpu", 16)
    none = scorer.hops(scorer.empty(), scorer.empty(), scorer.empty())
    assert none.backward is not None and len(none.backward) == 0
    from dataclasses import replace

    episode = synthetic.episode(1)[0]
    one = replace(
        episode,
        frames={view: image[:1] for view, image in episode.frames.items()},
        frame_step=episode.frame_step[:1],
    )
    assert score_episode(as_pair_model(small_grm), one, "mean").progress.shape == (1,)


def test_folders_say_what_they_hold(small_grm, tmp_path):
    small_grm.save(tmp_path / "compact")
    assert load_model(tmp_path / "compact").config == small_grm.config
    assert isinstance(load_backbone(tmp_path / "compact"), CompactBackbone)
    with pytest.raises(CheckpointError, match=r"no grm\.json"):
        load_model(tmp_path)
    (tmp_path / "grm.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_model(tmp_path)
    model = as_pair_model(small_grm)
    model.config = HTTPConfig("http://127.0.0.1:9/v1")
    model.save(tmp_path / "served")
    with pytest.raises(RoboError, match="no reward service answers"):
        load_model(tmp_path / "served")
    content = (tmp_path / "served" / "references.safetensors").read_bytes()
    (tmp_path / "served" / "references.safetensors").write_bytes(content[:-7])
    with pytest.raises(CheckpointError, match="references"):
        load_model(tmp_path / "served")


def test_modes_agree_with_the_algebra(small_grm, synthetic):
    """Progress of a constant hop, against a plain loop."""
    episode = synthetic.episode(1)[0]
    model = as_pair_model(small_grm, Recorded(0.25))
    progress = score_episode(model, episode, "incremental", stride=4).progress
    value, wanted = 0.0, [0.0]
    for _, _ in itertools.pairwise(range(7)):
        value += 0.25 * (1 - value)
        wanted.append(value)
    assert progress == pytest.approx(wanted, abs=1e-6)
