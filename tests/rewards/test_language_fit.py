"""A domain image-text model: learned, judged in held-out wording, saved as open_clip saves."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

open_clip = pytest.importorskip("open_clip")

from robo.errors import RoboError  # noqa: E402
from robo.perception.augment_config import AugmentConfig  # noqa: E402
from robo.perception.clip import ClipEncoder  # noqa: E402
from robo.perception.clip_config import ClipConfig, ClipFitConfig, ClipShape  # noqa: E402
from robo.perception.clip_fit import FrameCaptions, contrastive_loss  # noqa: E402
from robo.rewards.captions import LIFTING  # noqa: E402
from robo.rewards.language_config import LanguageGoalConfig  # noqa: E402
from robo.rewards.language_fit import (  # noqa: E402
    fit_clip,
    labelled_frames,
    new_encoder,
    source_of,
)
from robo.rewards.language_fitted import fitted_contrast  # noqa: E402
from robo.rewards.language_goal import LanguageGoalReward  # noqa: E402
from robo.rollout import Episode, EpisodeInfo, Frames  # noqa: E402

SMALL = ClipFitConfig(
    shape=ClipShape(image_size=32, width=8, heads=2, context_length=16),
    iterations=160,
    batch_size=24,
    learning_rate=4e-3,
    validation_share=0.4,
)


def episode(number, steps=12):
    """A cube that rises: a red square, high in the image where it is held."""
    rng = np.random.default_rng(number)
    held = rng.random(steps + 1) < 0.5
    frames = rng.integers(90, 120, (steps + 1, 40, 40, 3)).astype(np.uint8)
    for t in range(steps + 1):
        top, left = (3 if held[t] else 25), rng.integers(5, 25)
        frames[t, top : top + 10, left : left + 10] = (220, 20, 20)
    return Episode(
        info=EpisodeInfo("mujoco/Lift"),
        observation={},
        action=np.zeros((steps, 1), np.float32),
        reward=np.zeros(steps, np.float32),
        success=False,
        terminated=False,
        signals={
            "cube_height": np.where(held[1:], 0.1, 0.02).astype(np.float32),
            "tool_cube_distance": np.where(held[1:], 0.01, 0.2).astype(np.float32),
        },
        frames={"front": frames},
        frame_step=np.arange(steps + 1),
    )


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    steps = []
    result = fit_clip((episode(k) for k in range(20)), LIFTING, SMALL, folder, steps.append)
    return folder, result, steps


@pytest.mark.slow
def test_it_learns_and_understands_unread_wording(fitted):
    _, result, steps = fitted
    assert len(steps) == result["iterations"] == 160
    assert result["loss_last"] < result["loss_first"]
    assert result["auc"]["paraphrases"] > 0.95
    assert result["bounds"]["lower"] < result["bounds"]["upper"]
    assert result["frames"]["around"] == 0


@pytest.mark.slow
def test_open_clip_loads_it(fitted):
    folder = fitted[0]
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    assert tokenizer(["a cube"]).shape == (1, 16)
    encoder = ClipEncoder.load(ClipConfig(model=str(folder)))
    with torch.no_grad():
        words = model.eval().encode_text(tokenizer(["a cube"]), normalize=True)
    torch.testing.assert_close(encoder.texts(["a cube"]), words)
    assert preprocess is not None


@pytest.mark.slow
def test_its_bounds_make_a_reward(fitted):
    folder, result, _ = fitted
    assert vars(fitted_contrast(str(folder))) == result["bounds"]
    positive, negative = LIFTING.goals
    config = LanguageGoalConfig(
        clip=ClipConfig(model=str(folder)),
        image=source_of(LIFTING),
        positive=(positive,),
        negative=(negative,),
        preset="fitted",
        form="manipulation",
    )
    reward, shown = LanguageGoalReward(config), episode(99)
    count = len(shown.frame_step)
    zeros = torch.zeros(count, dtype=torch.int64)
    frames = Frames(
        {"front": torch.from_numpy(shown.frames["front"])}, zeros, zeros, zeros, zeros.bool()
    )
    value = reward.score(frames)[1:].numpy()
    held = shown.signals["cube_height"] > 0.05
    assert value[held].mean() > value[~held].mean() + 0.5


@pytest.mark.slow
def test_going_on_from_a_checkpoint(fitted, tmp_path):
    config = dataclasses.replace(
        SMALL, start=str(fitted[0]), iterations=2, learning_rate=1e-4, validation_share=0.0
    )
    result = fit_clip([episode(k) for k in range(3)], LIFTING, config, tmp_path / "more")
    assert result["loss_first"] < fitted[1]["loss_first"]
    assert result["auc"] is None
    sizes = [
        json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
        for folder in (fitted[0], tmp_path / "more")
    ]
    assert sizes[0] == sizes[1]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(tmp_path):
    config = dataclasses.replace(SMALL, iterations=1)
    weights = []
    for name in ("a", "b"):
        fit_clip([episode(k) for k in range(4)], LIFTING, config, tmp_path / name)
        weights.append((tmp_path / name / "open_clip_model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_bounds_of_an_earlier_model_are_forgotten(tmp_path):
    from robo.rewards.language_config import Contrast
    from robo.rewards.language_fitted import forget_fitted, save_fitted

    save_fitted(tmp_path, Contrast(lower=-0.5, upper=0.5), {})
    assert fitted_contrast(str(tmp_path)) is not None
    forget_fitted(tmp_path)
    forget_fitted(tmp_path)
    assert fitted_contrast(str(tmp_path)) is None


def test_going_on_takes_small_steps():
    assert ClipFitConfig().peak == 3e-3 and ClipFitConfig(start="ViT-B-32").peak == 1e-5
    assert ClipFitConfig(start="ViT-B-32", learning_rate=1e-3).peak == 1e-3
    with pytest.raises(RoboError, match="learning_rate"):
        ClipFitConfig(learning_rate=0.0)


def frame_captions(images, label, **arguments):
    still = AugmentConfig(shift=0, brightness=0.0, contrast=0.0, colour=0.0)
    wording = [["a"], ["b"]]
    return FrameCaptions(images, label, wording, ClipFitConfig(augment=still), **arguments)


def test_an_episode_that_stands_still_does_not_fill_the_batches():
    # Scene 0: 64 frames of one episode, one of another.
    images = np.zeros((67, 4, 4, 3), np.uint8)
    images[64] = 255
    label = np.array([0] * 65 + [1, 1])
    rng = np.random.default_rng(0)
    bright = {}
    for name, group in (("alike", None), ("by episode", np.array([0] * 64 + [1, 2, 2]))):
        drawn, _, scene = frame_captions(images, label, group=group).draw(2000, rng)
        bright[name] = float((drawn[scene == 0].mean(dim=(1, 2, 3)) > 0.5).float().mean())
    assert bright["alike"] == pytest.approx(1 / 65, abs=0.02)
    assert bright["by episode"] == pytest.approx(1 / 9, abs=0.03)


@pytest.mark.parametrize("mirrored", [False, True])
def test_mirror_images(mirrored):
    images = np.zeros((4, 4, 4, 3), np.uint8)
    images[:, 1, 0] = (250, 120, 10)
    data = frame_captions(images, np.array([0, 0, 1, 1]), mirrored=mirrored)
    drawn = data.draw(400, np.random.default_rng(0))[0]
    left, right = drawn[:, 1, 0], drawn[:, 1, 3]
    turned = (right[:, 0] > 0.5).float().mean().item()
    assert turned == pytest.approx(0.5 if mirrored else 0.0, abs=0.1)
    # Columns change places, colours do not; rows stay.
    torch.testing.assert_close(left + right, (left + right)[:1].expand_as(left))
    assert left[left[:, 0] > 0.5][0, 0] > left[left[:, 0] > 0.5][0, 2] + 0.5


def test_the_loss_of_a_perfect_match():
    scene = torch.tensor([0, 1, 1])
    codes = torch.nn.functional.one_hot(scene).float()
    loss = contrastive_loss(codes, codes, scene, torch.tensor(100.0))
    assert loss.item() == pytest.approx(0.0, abs=1e-4)
    assert contrastive_loss(codes, codes.flip(0), scene, torch.tensor(100.0)) > 1.0


def test_frames_that_show_nothing_known():
    encoder, _ = new_encoder(SMALL)
    shown = episode(0)
    with pytest.raises(RoboError, match="no view"):
        labelled_frames([dataclasses.replace(shown, frames={})], LIFTING, encoder)
    nowhere = {name: np.full_like(x, 0.028) for name, x in shown.signals.items()}
    with pytest.raises(RoboError, match="no frame shows"):
        labelled_frames([dataclasses.replace(shown, signals=nowhere)], LIFTING, encoder)
    held = {
        "cube_height": np.full(12, 0.1, np.float32),
        "tool_cube_distance": np.zeros(12, np.float32),
    }
    one = dataclasses.replace(shown, signals=held)
    with pytest.raises(RoboError, match="at least two"):
        fit_clip([one], LIFTING, SMALL, None)
