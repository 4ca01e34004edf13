"""VLM-RL's contrast and synthesis, and the reward that makes them of a whole rollout."""

from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("open_clip")

from robo.perception.clip import ClipEncoder
from robo.perception.clip_config import ClipConfig, ImageSource
from robo.rewards.config import RewardConfig, make_reward
from robo.rewards.language_config import (
    PRESETS,
    Contrast,
    LanguageGoalConfig,
    LanguageGoalError,
)
from robo.rewards.language_fitted import save_fitted
from robo.rewards.language_goal import LanguageGoalReward, contrast, synthesise
from robo.rollout import FinalObservation, Frames, Rollout


def unit(*shape, seed=0):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(x, dim=-1)


# ---------------------------------------------------------------- contrast


def released_contrast(image, negative, positive):
    """The released code's arithmetic, in NumPy."""
    z = image @ negative - image @ positive
    return 1 - np.clip(z, 0.0, 0.03) / 0.03


@pytest.mark.parametrize("size", [8, 512, 1280])
def test_contrast_is_the_released_codes(size):
    image, goals = unit(500, size), unit(2, size, seed=1)
    wide = (x.double().numpy() for x in (image, goals[0], goals[1]))
    wanted = released_contrast(*wide)
    found = contrast(image, goals[1], goals[0])
    assert 0.0 < wanted.mean() < 1.0
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-6)


def test_contrast_vectors():
    image = torch.tensor([1.0, 0.0])
    positive, negative = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert contrast(image, positive, negative).item() == 1.0
    assert contrast(image, negative, positive).item() == 0.0
    # sim(positive) - sim(negative) = -0.015: the middle of the released bounds.
    almost = torch.tensor([0.1, 0.115], dtype=torch.float64)
    assert contrast(almost, positive, negative).item() == pytest.approx(0.5)
    assert contrast(image, positive, negative, 0.5, 0.5, 0.0, 1.0).item() == pytest.approx(0.5)
    assert contrast([1.0, 0.0], [1.0, 0.0], [0.0, 1.0]).item() == 1.0


def test_the_presets_agree():
    image, goals = unit(100, 64), unit(2, 64, seed=1)
    released, general = (
        contrast(image, *goals, **vars(PRESETS[name])) for name in ("released", "general")
    )
    torch.testing.assert_close(released, general, atol=1e-6, rtol=0)


def test_contrast_broadcasts():
    image, positive, negative = unit(7, 16), unit(3, 16, seed=1), unit(3, 16, seed=2)
    found = contrast(image[:, None], positive, negative, lower=-0.5, upper=0.5)
    assert found.shape == (7, 3)
    for pair in range(3):
        single = contrast(image, positive[pair], negative[pair], lower=-0.5, upper=0.5)
        torch.testing.assert_close(found[:, pair], single)


def test_bounds_in_the_wrong_order():
    with pytest.raises(LanguageGoalError, match="lower"):
        contrast([1.0], [1.0], [0.0], lower=0.0, upper=0.0)


# ---------------------------------------------------------------- synthesis


def test_synthesis_vectors():
    # On the line at the speed that contrast 1 asks for: everything is paid.
    assert synthesise(1.0, 25.0, 0.0, 0.0, 0.0).item() == 1.0
    # Contrast 0 wants standstill: 25 km/h pays nothing, standing pays all.
    assert synthesise(0.0, 25.0, 0.0, 0.0, 0.0).item() == 0.0
    assert synthesise(0.0, 0.0, 0.0, 0.0, 0.0).item() == 1.0
    # 12.5 km/h wanted, 20 driven: 1 - 7.5/25 = 0.7; half off centre, half the angle, half the std.
    found = synthesise(0.5, 20.0, 1.5, math.pi / 4, 0.2).item()
    assert found == pytest.approx(0.7 * 0.5 * 0.5 * 0.5)
    assert synthesise(0.0, 35.0, 0.0, 0.0, 0.0).item() == pytest.approx(-0.4)
    assert synthesise(1.0, 25.0, 3.5, 0.0, 0.0).item() == 0.0
    assert synthesise(1.0, 25.0, 0.0, -math.pi / 2, 0.0).item() == pytest.approx(0.0)
    assert synthesise(1.0, 25.0, 0.0, 0.0, 0.4).item() == pytest.approx(0.0)


def test_no_exception_for_large_angles():
    """The released code pays a car that drives backwards along the lane in full."""
    assert synthesise(1.0, 25.0, 0.0, 2.4, 0.0).item() == 0.0


@given(
    st.floats(0, 1),
    st.floats(0, 60),
    st.floats(0, 6),
    st.floats(-math.pi, math.pi),
    st.floats(0, 1),
)
def test_synthesis_is_at_most_one(value, speed, distance, heading, spread):
    paid = synthesise(value, speed, distance, heading, spread).item()
    assert paid <= 1.0
    better = synthesise(value, 25.0 * value, distance, heading, spread).item()
    assert paid <= better + 1e-12


# ---------------------------------------------------------------- the reward


@pytest.fixture(scope="module")
def encoder(tiny_clip):
    return ClipEncoder.load(ClipConfig(model=str(tiny_clip), batch_size=1))


def config_of(tiny_clip, **changes):
    """Wide bounds: the tiny model's weights are random."""
    return LanguageGoalConfig(
        **{
            "clip": ClipConfig(model=str(tiny_clip)),
            "image": ImageSource(height=12, width=16),
            "lower": -0.2,
            "upper": 0.0,
            **changes,
        }
    )


def world(steps=9, envs=3, stride=1, seed=0, view="bird", image=(12, 16)):
    """A rollout with random endings and the frames that a schedule of ``stride`` would give."""
    rng = np.random.default_rng(seed)
    ended = rng.random((steps, envs)) < 0.25
    kind = rng.random((steps, envs))
    terminated, truncated = ended & (kind < 0.7), ended & (kind >= 0.7)
    success = terminated & (kind < 0.3)
    episode = np.arange(envs)[None] + envs * np.concatenate(
        [np.zeros((1, envs), int), np.cumsum(ended, 0)]
    )
    rows, age = [], np.zeros(envs, int)
    for t in range(steps + 1):
        for env in range(envs):
            if t and ended[t - 1, env]:
                rows.append((t, env, episode[t - 1, env], True))
                age[env] = 0
            if age[env] % stride == 0:
                rows.append((t, env, episode[t, env], False))
            age[env] += 1
    step, env, ids, final = (torch.tensor(column) for column in zip(*rows, strict=True))
    pixels = torch.from_numpy(rng.integers(0, 256, (len(rows), *image, 3), np.uint8))
    at_step, at_env = np.nonzero(ended)
    floats = {
        name: torch.from_numpy(rng.random((steps, envs)).astype(np.float32))
        for name in ("speed", "route_offset", "heading_error", "cube_height", "env_reward")
    }
    floats["speed"] *= 9
    zeros = torch.zeros(steps, envs)
    return Rollout(
        observation={},
        last_observation={},
        final_observation=FinalObservation({}, torch.tensor(at_step), torch.tensor(at_env)),
        action=zeros[..., None],
        log_prob=zeros,
        env_reward=floats.pop("env_reward"),
        terminated=torch.tensor(terminated),
        truncated=torch.tensor(truncated),
        success=torch.tensor(success),
        episode=torch.tensor(episode[:-1]),
        episodes={},
        signals=floats,
        frames=Frames({view: pixels}, step, env, ids, final),
    ).check()


def piece(rollout, start, stop):
    """Steps ``start`` to ``stop`` as a rollout of their own."""
    frames = rollout.frames
    inside = (frames.step >= start) & (frames.step <= stop)
    # The final frame of an episode that ended with the step before belongs to the piece before.
    inside &= ~(frames.final & (frames.step == start))
    rows = frames.rows(inside)
    final = rollout.final_observation
    kept = (final.step >= start) & (final.step < stop)
    cut = {
        name: getattr(rollout, name)[start:stop]
        for name in (
            "action",
            "log_prob",
            "env_reward",
            "terminated",
            "truncated",
            "success",
            "episode",
        )
    }
    return dataclasses.replace(
        rollout,
        **cut,
        final_observation=FinalObservation({}, final.step[kept] - start, final.env[kept]),
        signals={name: signal[start:stop] for name, signal in rollout.signals.items()},
        frames=dataclasses.replace(rows, step=rows.step - start),
    ).check()


def scored_step_by_step(rollout, reward, config):
    """Every step by itself, the way a simulator's loop would do it."""
    frames, total = rollout.frames, torch.zeros(rollout.shape, dtype=torch.float64)
    look = {}
    for row in range(len(frames)):
        key = (int(frames.step[row]), int(frames.env[row]), int(frames.episode[row]))
        look[key] = float(reward.score(frames.rows(torch.tensor([row])))[0])
    for env in range(rollout.shape[1]):
        distances, open_episode = [], None
        for t in range(rollout.shape[0]):
            episode = int(rollout.episode[t, env])
            if episode != open_episode:
                open_episode, distances = episode, []
                held = look.get((t, env, episode), 0.0)
            held = look.get((t + 1, env, episode), held)
            signal = {name: float(s[t, env]) for name, s in rollout.signals.items()}
            distances.append(signal["route_offset"])
            paid = synthesise(
                held,
                3.6 * signal["speed"],
                signal["route_offset"],
                signal["heading_error"],
                float(np.std(distances[-config.center_window :])),
            )
            failed = rollout.terminated[t, env] and not rollout.success[t, env]
            total[t, env] = -10.0 if failed else paid
    return total


@settings(max_examples=4)
@given(st.integers(0, 1000), st.sampled_from([1, 3]))
def test_a_rollout_at_once_is_step_by_step(tiny_clip, encoder, seed, stride):
    config = config_of(tiny_clip, center_window=4)
    rollout = world(seed=seed, stride=stride)
    reward = LanguageGoalReward(config, stride, encoder=encoder)
    terms = reward(rollout)
    torch.testing.assert_close(
        terms.total, scored_step_by_step(rollout, reward, config).float(), atol=1e-5, rtol=0
    )
    assert terms.terms["contrast"].std() > 0.01


@pytest.mark.parametrize("form", ["driving", "manipulation"])
def test_where_a_rollout_is_cut_changes_no_bit(tiny_clip, encoder, form):
    changes = {} if form == "driving" else {"positive": ("a",), "negative": ("b",)}
    config = config_of(
        tiny_clip, form=form, center_window=4, image=ImageSource("bird", 12, 16), **changes
    )
    rollout = world(steps=12, seed=3, stride=2)
    whole = LanguageGoalReward(config, 2, encoder=encoder)(rollout)
    reward, parts = LanguageGoalReward(config, 2, encoder=encoder), []
    for start, stop in ((0, 1), (1, 5), (5, 12)):
        parts.append(reward(piece(rollout, start, stop)).total)
        state = reward.state_dict()
        reward = LanguageGoalReward(config, 2, encoder=encoder)
        reward.load_state_dict(state)
    assert torch.equal(torch.cat(parts), whole.total)


def test_one_pass_and_no_frame_twice(tiny_clip, encoder, monkeypatch):
    reward = LanguageGoalReward(config_of(tiny_clip), encoder=encoder)
    rollout, seen = world(steps=8), []
    original = encoder.images
    monkeypatch.setattr(encoder, "images", lambda *a: (seen.append(len(a[0])), original(*a))[1])
    reward(piece(rollout, 0, 4))
    reward(piece(rollout, 4, 8))
    assert len(seen) == 2
    # The rows at the cut are scored once, be they of open or of new episodes.
    assert sum(seen) == len(rollout.frames)


def test_terms_and_idle_slots(tiny_clip, encoder):
    rollout = dataclasses.replace(world(), valid=torch.rand(9, 3) < 0.5)
    terms = LanguageGoalReward(config_of(tiny_clip), encoder=encoder)(rollout)
    names = {"contrast", "speed", "centring", "heading", "stability", "terminal"}
    assert set(terms.terms) == names
    assert all(not term[~rollout.valid].any() for term in (terms.total, *terms.terms.values()))
    product = torch.stack([terms.terms[n] for n in ("speed", "centring", "heading", "stability")])
    failed = rollout.terminated & ~rollout.success
    paid = torch.where(failed & rollout.valid, torch.tensor(-10.0), product.prod(0))
    torch.testing.assert_close(terms.total, paid)


def test_manipulation_adds_a_state_term(tiny_clip, encoder):
    def reward(**changes):
        config = config_of(
            tiny_clip, form="manipulation", positive=("a",), negative=("b",), **changes
        )
        return LanguageGoalReward(config, encoder=encoder)

    rollout = world(view="front")
    plain = reward()(rollout).total
    assert reward().signals == () and reward().camera.views == ("front",)
    height = reward(state_term="cube_height", state_weight=2.0)
    assert height.signals == ("cube_height",)
    torch.testing.assert_close(height(rollout).total, plain + 2 * rollout.signals["cube_height"])
    torch.testing.assert_close(reward(state_term="success")(rollout).total, plain + rollout.success)
    torch.testing.assert_close(
        reward(state_term="environment")(rollout).total, plain + rollout.env_reward
    )


def test_several_pairs(tiny_clip, encoder):
    frames = world().frames
    goals = {"positive": ("a car", "green | red"), "negative": ("a wall", "blue")}
    both = LanguageGoalReward(config_of(tiny_clip, **goals), encoder=encoder)
    found = both.contrasts(frames)
    assert found.shape == (len(frames), 2)
    torch.testing.assert_close(both.score(frames), found.mean(dim=1))
    weighted = LanguageGoalReward(
        config_of(tiny_clip, weights=(3.0, 1.0), **goals), encoder=encoder
    )
    torch.testing.assert_close(weighted.score(frames), found @ torch.tensor([0.75, 0.25]))
    worst = LanguageGoalReward(config_of(tiny_clip, combine="min", **goals), encoder=encoder)
    assert torch.equal(worst.score(frames), found.amin(dim=1))


def test_fitted_bounds_come_from_the_models_folder(tiny_clip, tmp_path, encoder):
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(tiny_clip, folder)
    config = LanguageGoalConfig(clip=ClipConfig(model=str(folder)), preset="fitted")
    with pytest.raises(LanguageGoalError, match="says no bounds"):
        LanguageGoalReward(config, encoder=encoder)
    save_fitted(folder, Contrast(1.0, 1.0, -0.4, 0.7), {})
    assert LanguageGoalReward(config, encoder=encoder).scale == Contrast(1.0, 1.0, -0.4, 0.7)
    # Images of another crop than those that it was fitted on are worth a word.
    image = ImageSource("bird", 12, 16, (0.25, 0.0, 0.75, 1.0))
    save_fitted(folder, Contrast(1.0, 1.0, -0.4, 0.7), {"image": vars(image)})
    with pytest.warns(UserWarning, match=r"crop \[0.0, 0.0, 1.0, 1.0\] in place of \[0.25"):
        LanguageGoalReward(config, encoder=encoder)
    larger = dataclasses.replace(image, height=24, width=32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LanguageGoalReward(dataclasses.replace(config, image=larger), encoder=encoder)
        # Bounds of one's own are nobody else's business.
        LanguageGoalReward(dataclasses.replace(config, preset="released"), encoder=encoder)
    given_too = dataclasses.replace(config, image=larger, upper=0.9)
    assert LanguageGoalReward(given_too, encoder=encoder).scale.upper == 0.9


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"positive": ("",), "negative": ("b",)}, "a goal is empty"),
        ({"positive": ("a", "b"), "negative": ("c",)}, "as many of each"),
        ({"positive": ("a",)}, "as many of each"),
        ({"form": "manipulation"}, "no goals are given"),
        ({"weights": (1.0, 2.0)}, "1 goal pairs"),
        ({"weights": (-1.0,)}, "weights"),
        ({"lower": 0.5, "upper": 0.5}, "lower below upper"),
        ({"alpha": float("nan")}, "finite"),
        ({"target_speed": 0.0}, "target_speed"),
        ({"center_window": 0}, "center_window"),
    ],
)
def test_settings_that_cannot_be(tiny_clip, encoder, changes, said):
    with pytest.raises(LanguageGoalError, match=said):
        LanguageGoalReward(config_of(tiny_clip, **changes), encoder=encoder)


def test_from_the_command_lines_settings(tiny_clip):
    language = config_of(tiny_clip)
    config = RewardConfig(kind="language_goal", stride=4, language=language)
    reward = make_reward(config, 0.98, "bootstrap")
    assert isinstance(reward, LanguageGoalReward)
    assert reward.camera is not None and reward.camera.views == ("bird",)
    assert (reward.camera.height, reward.camera.width, reward.camera.stride) == (12, 16, 4)
    assert reward.signals == ("speed", "route_offset", "heading_error")
    torch.testing.assert_close(
        reward(world(stride=4)).total, make_reward(config, 0.98, "keep")(world(stride=4)).total
    )


def test_a_view_that_is_not_there(tiny_clip, encoder):
    reward = LanguageGoalReward(config_of(tiny_clip), encoder=encoder)
    with pytest.raises(LanguageGoalError, match="no view 'bird'"):
        reward(world(view="front"))
