from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from robo.errors import CheckpointError, RoboError, StoreError
from robo.media.training_videos import TrainingVideos
from robo.policies.learner_config import PPOConfig
from robo.policies.train_config import TrainConfig
from robo.rewards.config import RewardConfig, make_reward, shape
from robo.rewards.grm.ensemble import EnsembleGRM, lower_bound
from robo.rewards.grm.fit_config import FitConfig, PairConfig
from robo.rewards.grm.folder import load_model
from robo.rewards.grm.policy_episodes import PolicyEpisode, PolicyEpisodes
from robo.rewards.grm.potential import GRMPotential
from robo.rewards.grm.refresh import RefreshedPotential
from robo.rewards.grm.refresh_config import RefreshConfig
from robo.rewards.grm.refresh_verdict import Verdict, order_in_time
from robo.rewards.grm.score import score_episode
from robo.rewards.potential import Potential
from robo.rewards.replay import score
from tests.rewards.grm.test_grm_potential import Stream, play

QUICK = FitConfig(episodes_per_step=4, rows_per_episode=4, pairs=PairConfig(pairs=64))
OFTEN = RefreshConfig(every_iterations=1, fewest_failures=1, steps=2, capacity=20)


def same_weights(first, second):
    return all(map(torch.equal, first.parameters(), second.parameters()))


@pytest.fixture
def stream(synthetic):
    return Stream(synthetic.draw, steps=30)


@pytest.fixture
def demos(synthetic):
    return [synthetic.episode(seed, stride=4)[0] for seed in range(4)]


def test_policy_episodes_are_whole_whatever_the_cuts(stream, synthetic):
    def gathered(cuts):
        buffer = PolicyEpisodes(synthetic.views, (32, 32), 100)
        bounds = [0, *cuts, stream.steps]
        for first, last in itertools.pairwise(bounds):
            buffer.add(stream.cut(first, last))
        return buffer

    whole = gathered([])
    assert len(whole.ended) > 5
    for cuts in ([7], [3, 9, 20], list(range(1, 30))):
        other = gathered(cuts)
        assert len(other.ended) == len(whole.ended)
        for mine, theirs in zip(other.ended, whole.ended, strict=True):
            assert torch.equal(mine.images, theirs.images) and mine.success == theirs.success
    outcomes = stream.terminated[stream.done]
    assert whole.count(True) <= outcomes.sum() and whole.count(False) > 0
    part = gathered([15])
    again = PolicyEpisodes(synthetic.views, (32, 32), 100)
    half = PolicyEpisodes(synthetic.views, (32, 32), 100)
    half.add(stream.cut(0, 15))
    again.load_state_dict(copy.deepcopy(half.state_dict()))
    again.add(stream.cut(15, 30))
    assert len(again.ended) == len(part.ended)
    assert all(
        torch.equal(a.images, b.images) for a, b in zip(again.ended, part.ended, strict=True)
    )


def test_the_buffer_is_bounded_and_people_can_mark_episodes(stream, synthetic):
    buffer = PolicyEpisodes(synthetic.views, (32, 32), 3)
    buffer.add(stream.cut(0, 30))
    assert len(buffer.ended) == 3
    buffer.mark(1, 0.2)
    assert buffer.ended[1].ceiling == 0.2
    again = PolicyEpisodes(synthetic.views, (32, 32), 3)
    again.load_state_dict(buffer.state_dict())
    assert again.ended[1].ceiling == pytest.approx(0.2) and again.ended[0].ceiling is None


def test_refreshes_happen_when_due_and_a_resumed_run_is_exact(small_grm, demos, stream):
    one = RefreshedPotential(small_grm, demos, "backward", 3, OFTEN, QUICK)
    assert isinstance(one, Potential)
    one(stream.cut(0, 10))
    assert one.accepted + one.refused == 1
    other = RefreshedPotential(small_grm, demos, "backward", 3, OFTEN, QUICK)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for first, last in ((10, 20), (20, 30)):
        mine, theirs = (part(stream.cut(first, last)) for part in (one, other))
        assert torch.equal(mine.at_state, theirs.at_state)
    assert one.counts == other.counts
    assert one.accepted + one.refused == 3 and one.counts["policy_episodes"] > 3
    assert same_weights(one.grm, other.grm)
    # The model that was given stays as it was.
    fresh = RefreshedPotential(small_grm, demos, "backward", 3, OFTEN, QUICK)
    assert same_weights(fresh.grm, small_grm)


def test_no_refresh_before_there_are_failures(small_grm, demos, stream):
    config = replace(OFTEN, fewest_failures=1000)
    potential = RefreshedPotential(small_grm, demos, "backward", 3, config, QUICK)
    potential(stream.cut(0, 30))
    assert potential.accepted + potential.refused == 0


def test_a_worse_model_is_refused(small_grm, demos, stream):
    wild = replace(OFTEN, learning_rate=10.0, steps=3)
    potential = RefreshedPotential(small_grm, demos, "backward", 3, wild, QUICK)
    before = copy.deepcopy(potential.grm.state_dict())
    worse = Verdict(0.5, 0.9, 0.5)
    potential.verdict = lambda grm, judge: (  # the candidate is judged second
        Verdict(0.1, 0.2, 0.5) if grm is potential.grm else worse
    )
    potential(stream.cut(0, 30))
    assert potential.refused == 1 and potential.accepted == 0
    after = potential.grm.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_model_that_training_began_with_stays_the_measure(small_grm, demos, stream):
    """A loss that one refresh may cost must not add up over many."""
    potential = RefreshedPotential(small_grm, demos, "backward", 3, OFTEN, QUICK)
    order = iter(np.arange(0.95, 0.0, -0.05))
    seen = {id(potential.given): Verdict(0.1, 0.9, 1.0)}

    def verdict(grm, judge):
        if grm is potential.grm:
            return Verdict(0.1, 0.9, 0.0)
        return seen.get(id(grm)) or Verdict(0.1, 0.2, next(order))

    potential.verdict = verdict
    assert [potential.refresh() for _ in range(4)] == [True, True, False, False]
    assert same_weights(potential.given, small_grm)
    assert not same_weights(potential.grm, small_grm)


def test_held_out_demonstrations_judge_and_never_train(small_grm, synthetic, demos, stream):
    held_out = [synthetic.episode(seed, stride=4)[0] for seed in (50, 51)]
    lost = synthetic.episode(52, success=False, stride=4)[0]
    potential = RefreshedPotential(
        small_grm, demos, "backward", 3, OFTEN, QUICK, held_out=[*held_out, lost]
    )
    assert potential._joined([]).demos.tolist() == [0, 1, 2, 3]
    assert len(potential._joined([]).count) == len(demos)
    found = potential.verdict(small_grm, [])
    scores = [score_episode(small_grm, episode) for episode in held_out]
    labels = [potential.bank.labeller.at_frames(episode) for episode in held_out]
    errors = [
        np.abs(one.progress - label).mean() for one, label in zip(scores, labels, strict=True)
    ]
    assert found.demonstration_error == pytest.approx(np.mean(errors), abs=1e-5)
    assert found.order == pytest.approx(np.mean([order_in_time(s.progress) for s in scores]))
    assert found.failure_end == pytest.approx(score_episode(small_grm, lost).final, abs=1e-5)
    # A success of the policy is put in order too, and a failure of it counts as one.
    images = torch.from_numpy(np.stack([demos[0].frames[v] for v in synthetic.views], 1))
    more = potential.verdict(small_grm, [PolicyEpisode(images, True), PolicyEpisode(images, False)])
    assert more.order != found.order and more.failure_end != found.failure_end
    assert more.demonstration_error == found.demonstration_error
    # One demonstration is enough to learn from where others judge.
    potential = RefreshedPotential(
        small_grm, demos[:1], "backward", 3, OFTEN, QUICK, held_out=held_out
    )
    potential(stream.cut(0, 10))
    assert potential.accepted + potential.refused == 1


def test_held_out_episodes_that_do_not_fit_are_refused(small_grm, synthetic, demos):
    def refreshed(*held_out):
        RefreshedPotential(small_grm, demos, held_out=held_out)

    other, _ = synthetic.episode(60, stride=4)
    with pytest.raises(StoreError, match="synthetic/Other"):
        refreshed(replace(other, info=replace(other.info, task="synthetic/Other")))
    with pytest.raises(StoreError, match="2 subtasks"):
        refreshed(replace(other, keyframes={"half": 12}))
    with pytest.raises(RoboError, match="16x16"):
        refreshed(synthetic.episode(60, stride=4, size=16)[0])
    with pytest.raises(StoreError, match="no successful episode"):
        refreshed(synthetic.episode(60, stride=4, success=False)[0])
    with pytest.raises(RoboError, match="refresh-store"):
        RewardConfig(kind="grm", grm=".", refresh_held_out=".")


def test_a_model_of_several_tasks_is_refreshed_by_episodes_of_its_own(small_grm, demos):
    grm = copy.deepcopy(small_grm)
    reference = dict(grm.reference)
    grm.set_task("synthetic/Reach", "reach", reference)
    grm.set_task("synthetic/Other", "other", reference)
    grm.use_task("synthetic/Other")
    with pytest.raises(StoreError, match="grm-task"):
        RefreshedPotential(grm, demos)
    RefreshedPotential(grm.for_task("synthetic/Reach"), demos)


def test_a_judging_episode_of_the_policy_judges_for_good(small_grm, demos):
    """Otherwise the model would have been trained on what it is judged by."""
    config = replace(OFTEN, capacity=6, held_out_share=0.5)
    potential = RefreshedPotential(small_grm, demos, config=config, fit=QUICK)
    roles: dict[int, set[str]] = {}
    for number in range(11):
        potential.buffer._open[number] = (list(torch.full((2, 3, 32, 32, 3), number)), False)
        potential.buffer._end(number, False)
        for role, episodes in zip(("judge", "learn"), potential._split(), strict=True):
            for episode in episodes:
                roles.setdefault(int(episode.images[0, 0, 0, 0, 0]), set()).add(role)
    assert all(len(found) == 1 for found in roles.values()) and len(roles) == 11
    assert [found for _, found in sorted(roles.items())][:2] == [{"judge"}, {"learn"}]
    again = PolicyEpisodes(potential.buffer.views, (32, 32), 6)
    again.load_state_dict(potential.buffer.state_dict())
    assert [number for number, _ in again.numbered()] == list(range(5, 11))


def test_open_episodes_are_seen_by_the_new_weights_after_a_refresh(small_grm, demos, stream):
    potential = RefreshedPotential(small_grm, demos, "mean", 3, OFTEN, QUICK)
    potential.verdict = lambda grm, judge: Verdict(0.1, 0.2, 0.5)  # every copy is taken
    potential(stream.cut(0, 10))
    assert potential.accepted == 1 and not same_weights(potential.grm, small_grm)
    kept = potential.potential.state_dict()["open"]
    assert len(kept["episode"]) >= 3
    for row, episode in enumerate(kept["episode"].tolist()):
        ages = sorted(
            int(stream.age[t, env])
            for t, env in np.argwhere(stream.episode[:11] == episode)
            if stream.age[t, env] % stream.stride == 0
        )
        for name, age in (("start", ages[0]), ("previous", ages[-1])):
            shot = {k: torch.from_numpy(v[None]) for k, v in stream.shot(episode, age).items()}
            expected = potential.potential.scorer.encode(shot)[0]
            torch.testing.assert_close(kept[name][row], expected, atol=1e-5, rtol=0)


def test_labels_of_the_policys_episodes(small_grm, demos):
    potential = RefreshedPotential(small_grm, demos, "backward", 4, OFTEN, QUICK)
    images = torch.from_numpy(np.stack([demos[0].frames[v] for v in ("front", "side", "wrist")], 1))
    seen = potential.progress(small_grm, images)
    failed = potential.label(PolicyEpisode(images, False))
    np.testing.assert_allclose(failed, np.minimum(0.5 * seen, 0.5), rtol=1e-5)
    marked = potential.label(PolicyEpisode(images, False, 0.1))
    np.testing.assert_allclose(marked, np.minimum(seen, 0.1), rtol=1e-5)
    success = potential.label(PolicyEpisode(images, True))
    assert success[-1] == 1.0 and (np.diff(success) >= 0).all() and success[0] <= 0.1


@pytest.mark.slow
def test_frames_that_fool_the_model_sink_and_demonstrations_stay(synthetic, demos):
    """The policy holds the mover where the model was never shown it and is wrongly happy."""
    from robo.rewards.grm.fit import fit_grm

    torch.set_num_threads(1)
    fit = FitConfig(iterations=60, pairs=PairConfig(512), episodes_per_step=6, rows_per_episode=8)
    grm, _ = fit_grm([synthetic.episode(seed)[0] for seed in range(8)], fit)
    config = replace(OFTEN, steps=40)
    potential = RefreshedPotential(
        grm, [synthetic.episode(seed)[0] for seed in range(8)], "backward", 3, config, fit
    )
    shots = [synthetic.draw(np.array([0.75, 0.2 + 0.01 * i]), 32) for i in range(8)]
    images = torch.from_numpy(
        np.stack([np.stack([shot[v] for v in synthetic.views]) for shot in shots])
    )
    fooled = float(potential.progress(grm, images).mean())
    for _ in range(8):
        potential.buffer.ended.append(PolicyEpisode(images, False))
    for _ in range(3):
        potential.refresh()
    assert potential.accepted >= 1
    assert float(potential.progress(potential.grm, images).mean()) < 0.75 * fooled
    held_out = synthetic.episode(77)[0]
    assert score_episode(potential.grm, held_out).final > 0.8


def test_refreshing_by_command_line_settings(small_grm, synthetic, demos, tmp_path):
    from robo.data import EpisodeStore

    small_grm.save(tmp_path / "grm")
    with EpisodeStore(tmp_path / "store" / "episodes") as store:
        for demo in demos:
            store.append(demo)
    config = RewardConfig(kind="grm", grm=tmp_path / "grm", refresh_store=tmp_path / "store")
    reward = make_reward(config, 0.99, "keep")
    assert isinstance(reward.potential, RefreshedPotential)
    with pytest.raises(RoboError, match="2 processes"):
        make_reward(config, 0.99, "keep", lambda value: [value, value])
    make_reward(config, 0.99, "keep", lambda value: [value])
    text = f"delta(grm:{tmp_path / 'grm'},refresh_store={tmp_path / 'store'})"
    composed = RewardConfig(kind="composed", composed=text)
    make_reward(composed, 0.99, "keep", lambda value: [value])
    with pytest.raises(RoboError, match="2 processes"):
        make_reward(composed, 0.99, "keep", lambda value: [value, value])
    assert {"refreshes_accepted", "invalid", "rows"} <= reward.counts.keys()
    with EpisodeStore(tmp_path / "held_out") as store:
        store.append(synthetic.episode(70, stride=4)[0])
    judged = make_reward(replace(config, refresh_held_out=tmp_path / "held_out"), 0.99, "keep")
    assert judged.potential.teachers.tolist() == [0, 1, 2, 3]
    assert len(reward.potential.teachers) == 3
    with pytest.raises(StoreError, match="two demonstrations"):
        RefreshedPotential(small_grm, demos[:1])
    for options in ({"steps": 0}, {"discount": 2.0}, {"held_out_share": 1.0}):
        with pytest.raises(RoboError, match="refresh"):
            RefreshConfig(**options)


def test_a_video_of_training_is_scored_by_the_refreshed_model(
    small_grm, synthetic, demos, stream, tmp_path
):
    from robo.data import EpisodeStore

    small_grm.save(tmp_path / "grm")
    with EpisodeStore(tmp_path / "store") as store:
        store.extend(demos)
    config = RewardConfig(
        kind="grm", grm=tmp_path / "grm", refresh_store=tmp_path / "store", refresh=OFTEN, stride=4
    )
    trained = make_reward(config, 0.99, "keep")
    trained(stream.cut(0, 10))  # three environments, whose episodes stay open
    with torch.no_grad():
        trained.potential.grm.parts.weight.mul_(0.7)
    settings = TrainConfig(reward=config, ppo=PPOConfig(gamma=0.99, timeout="keep"))
    run, videos = SimpleNamespace(config=settings, reward=trained), TrainingVideos(1)
    failure, _ = synthetic.episode(99, success=False, stride=4)
    for _ in range(3):
        seen = score(videos.reward_of(run), [failure])[0].progress
        by_hand = GRMPotential(trained.potential.grm, config.mode, 4)
        expected = score(shape(config, by_hand, 0.99, "keep"), [failure])[0].progress
        np.testing.assert_allclose(seen, expected, atol=1e-6)
        with torch.no_grad():
            trained.potential.grm.parts.weight.mul_(1.2)
    shown = videos.reward_of(run).potential
    assert same_weights(shown.grm, trained.potential.grm)
    assert shown.accepted + shown.refused == 0


def test_the_lower_bound_of_an_ensemble():
    values = torch.tensor([[0.2, 0.5, torch.nan, torch.nan], [0.4, 0.5, 0.3, torch.nan]])
    bound, apart = lower_bound(values, 1.0)
    torch.testing.assert_close(bound[:3], torch.tensor([0.2, 0.5, 0.3]))
    assert bound[3].isnan() and apart == pytest.approx(0.1 / 3)
    assert lower_bound(values[:1], 5.0)[0][0] == pytest.approx(0.2)
    assert lower_bound(torch.tensor([[-1.0], [1.0]]), 3.0)[0].item() == -1.0


def test_an_ensemble_of_several_tasks_compares_with_the_references_asked_for(
    small_grm, synthetic, tmp_path
):
    def member(scale):
        grm = copy.deepcopy(small_grm)
        shown = small_grm.reference
        grm.set_task("synthetic/Reach", "reach", copy.deepcopy(shown))
        swapped = copy.deepcopy({"start": shown["goal"], "goal": shown["start"]})
        grm.set_task("synthetic/Other", "other", swapped)
        grm.use_task("synthetic/Other")
        with torch.no_grad():
            grm.parts.weight.mul_(scale)
        return grm

    members = [member(1.0), member(0.7)]
    both = EnsembleGRM(members, 0.0)
    episode, _ = synthetic.episode(3)
    wanted = EnsembleGRM([one.for_task("synthetic/Reach") for one in members], 0.0)
    found = score_episode(both, episode).hops["backward"]
    expected = score_episode(wanted, episode).hops["backward"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    other = replace(episode, info=replace(episode.info, task="synthetic/Other"))
    assert np.abs(found - score_episode(both, other).hops["backward"]).max() > 1e-6
    for i, one in enumerate(members):
        one.save(tmp_path / str(i))
    EnsembleGRM.write(tmp_path, [tmp_path / "0", tmp_path / "1"])
    named = GRMPotential.load(tmp_path, task="synthetic/Reach").grm
    assert [one.task for one in named.members] == ["synthetic/Reach"] * 2
    with pytest.raises(RoboError, match="no reference frames of 'synthetic/None'"):
        GRMPotential.load(tmp_path, task="synthetic/None")


def test_an_ensemble_of_one_is_its_member_and_of_several_is_below_their_mean(
    small_grm, stream, tmp_path
):
    other = copy.deepcopy(small_grm)
    with torch.no_grad():
        other.parts.weight.mul_(0.7)
    alone, _ = play(GRMPotential(small_grm, "mean", 3), stream, [])
    one, _ = play(GRMPotential(EnsembleGRM([small_grm]), "mean", 3), stream, [5])
    torch.testing.assert_close(one, alone, atol=1e-5, rtol=0)
    second, _ = play(GRMPotential(other, "backward", 3), stream, [])
    first, _ = play(GRMPotential(small_grm, "backward", 3), stream, [])
    both, _ = play(GRMPotential(EnsembleGRM([small_grm, other]), "backward", 3), stream, [4, 9])
    mean = (first + second) / 2
    assert (both <= mean + 1e-5).all() and (both < mean - 1e-3).any()
    small_grm.save(tmp_path / "a")
    other.save(tmp_path / "all" / "b")
    EnsembleGRM.write(tmp_path / "all", [tmp_path / "a", tmp_path / "all" / "b"], 0.5)
    loaded = load_model(tmp_path / "all")
    assert isinstance(loaded, EnsembleGRM) and loaded.spread == 0.5 and len(loaded.members) == 2
    EnsembleGRM.write(tmp_path / "nested", [tmp_path / "all"])
    with pytest.raises(CheckpointError, match="ensemble as a member"):
        load_model(tmp_path / "nested")
    with pytest.raises(RoboError, match="at least one"):
        GRMPotential(EnsembleGRM([]), "mean", 3)
    with pytest.raises(RoboError, match="spread"):
        GRMPotential(EnsembleGRM([small_grm], -1.0), "mean", 3)
