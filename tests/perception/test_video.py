"""Video encoders behind one interface: sampling, batching, empty clips, V-JEPA 2's own classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from robo.errors import CheckpointError, RoboError, StoreError
from robo.perception.clips import frame_indices
from robo.perception.compact_video import CompactVideoEncoder, CompactVideoNetwork
from robo.perception.compact_video_config import CompactVideoConfig, FitVideoConfig
from robo.perception.compact_video_fit import (
    draw_mask,
    effective_dimensions,
    fit_video_encoder,
)
from robo.perception.embedding_cache import EmbeddingCache
from robo.perception.video import PixelEncoder, load_video_encoder, normalised_frames
from robo.perception.vjepa2_rotary import share_rotary
from robo.rollout import Episode, EpisodeInfo

SMALL = CompactVideoConfig(
    height=16, width=16, patch=8, frames=4, size=16, depth=1, heads=2, predictor_size=8, segments=2
)


def clip(length: int, seed: int, views: tuple[str, ...] = ("front",), size: int = 16) -> dict:
    rng = np.random.default_rng(seed)
    return {
        view: torch.from_numpy(rng.integers(0, 256, (length, size, size, 3), np.uint8))
        for view in views
    }


def episode(length: int, seed: int) -> Episode:
    frames = {view: image.numpy() for view, image in clip(length, seed).items()}
    info = EpisodeInfo("mujoco/Reach", seed=seed)
    none = np.zeros((length - 1, 1), np.float32)
    return Episode(info, {}, none, none[:, 0], True, True, frames=frames)


def test_frames_are_spread_or_repeated():
    assert frame_indices(64, 64).tolist() == list(range(64))
    assert frame_indices(129, 64).tolist() == np.linspace(0, 128, 64, dtype=int).tolist()
    assert frame_indices(3, 8).tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    with pytest.raises(RoboError, match="at least one"):
        frame_indices(0, 8)


def test_frames_are_resized_cropped_and_normalised():
    image = torch.zeros(1, 20, 40, 3, dtype=torch.uint8)
    image[:, :, 15:25] = 255  # what the centre crop shows of a wide image
    found = normalised_frames(image, 10, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert found.shape == (1, 3, 10, 10)
    assert_close(found[..., 4:6], torch.ones(1, 3, 10, 2))
    assert_close(found[..., :2], -torch.ones(1, 3, 10, 2))


def every_encoder() -> list:
    torch.manual_seed(0)
    fitted, _ = fit_video_encoder(
        [episode(5 + seed, seed) for seed in range(3)],
        FitVideoConfig(iterations=2, batch=2, network=SMALL),
    )
    return [PixelEncoder(frames=4, size=4), fitted]


@pytest.mark.parametrize("index", [0, 1])
def test_any_batch_gives_the_same_rows_and_zeros_for_an_empty_clip(index):
    encoder = every_encoder()[index]
    clips = [clip(6, 1), clip(0, 0), clip(3, 2), clip(9, 3), {}]
    whole = encoder.embed(clips)
    assert whole.shape == (5, encoder.dim) and whole.dtype == torch.float32
    assert whole[1].abs().max() == whole[4].abs().max() == 0
    encoder.max_batch = 1
    assert_close(encoder.embed(clips), whole, atol=1e-5, rtol=1e-5)
    assert (whole[[0, 2, 3]].std(dim=0) > 0).any()
    assert encoder.embed([]).shape == (0, encoder.dim)
    with pytest.raises(RoboError, match="camera views"):
        encoder.embed([{"side": clip(3, 0)["front"]}])


@pytest.mark.parametrize("index", [0, 1])
def test_every_encoder_runs_under_autocast(index, monkeypatch):
    encoder = every_encoder()[index]
    clips = [clip(6, 1), clip(3, 2)]
    exact = encoder.embed(clips)
    half = torch.autocast("cpu", torch.bfloat16)  # what a GPU's float16 is, on this device
    monkeypatch.setattr("robo.perception.video.autocast", lambda device: half)
    found = encoder.embed(clips)
    assert found.dtype == torch.float32
    assert_close(found, exact, atol=0.2, rtol=0.1)
    multiplies = not isinstance(encoder, PixelEncoder)
    assert torch.equal(found, exact) != multiplies


def test_a_fitted_encoder_survives_its_folder(tmp_path: Path):
    encoder = every_encoder()[1]
    encoder.save(tmp_path)
    again = load_video_encoder(tmp_path)
    assert isinstance(again, CompactVideoEncoder) and again.name == encoder.name
    clips = [clip(6, 1), clip(3, 2)]
    assert_close(again.embed(clips), encoder.embed(clips))
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="fit it again"):
        load_video_encoder(tmp_path)
    with pytest.raises(CheckpointError, match="robo fit video-encoder"):
        load_video_encoder(tmp_path / "none")


def test_pooling_keeps_segments_and_cells_apart():
    # 32 x 24 tokens' worth of pixels: 4 rows and 3 columns, of which a grid of 4 has 4 and 3.
    config = CompactVideoConfig(
        height=32, width=24, patch=8, frames=8, size=8, heads=2, segments=2, grid=4
    )
    network = CompactVideoNetwork(config)
    features = torch.zeros(1, network.tokens, 8).reshape(1, 1, 4, 4, 3, 8)
    features[0, 0, 2:, 3, 1, 5] = 1.0  # the second half, last row, second column
    pooled = network.pool(features.reshape(1, -1, 8)).reshape(2, 4, 3, 8)
    assert pooled.nonzero().tolist() == [[1, 3, 1, 5]] and float(pooled[1, 3, 1, 5]) == 1.0
    assert CompactVideoEncoder(network).dim == pooled.numel() == len(network.average)


def test_every_channel_of_the_training_clips_has_unit_deviation():
    network = CompactVideoNetwork(CompactVideoConfig(height=16, width=16, patch=8, size=8, heads=2))
    encoder = CompactVideoEncoder(network)
    generator = np.random.default_rng(0)
    clips = [{"front": generator.integers(0, 255, (9, 16, 16, 3), np.uint8)} for _ in range(6)]
    encoder.standardise(clips)
    found = encoder.embed(clips)
    assert_close(found.mean(0), torch.zeros(encoder.dim), atol=1e-4, rtol=0)
    assert_close(found.reshape(-1, 8).square().mean(0), torch.ones(8), atol=1e-3, rtol=0)


def moving(count: int, seed: int = 0) -> list[Episode]:
    """Episodes of a bright square that moves along a row of its own."""
    rng = np.random.default_rng(seed)
    episodes = []
    for index in range(count):
        frames = np.zeros((10, 16, 16, 3), np.uint8)
        row = int(rng.integers(0, 12))
        for step in range(10):
            frames[step, row : row + 4, step : step + 4] = 255
        frames += rng.integers(0, 8, frames.shape, np.uint8)
        made = episode(10, index)
        made.frames = {"front": frames}
        episodes.append(made)
    return episodes


def test_training_predicts_what_is_hidden_without_collapse():
    config = FitVideoConfig(iterations=60, batch=8, learning_rate=3e-3, network=SMALL)
    _, summary = fit_video_encoder(moving(8), config)
    assert summary["loss_last"] < 0.8 * summary["loss_first"]  # type: ignore[operator]
    assert summary["spread"] > 0.02  # type: ignore[operator]
    assert summary["dimensions"] > 1.5  # type: ignore[operator]


def brightening(count: int, seed: int = 0) -> list[Episode]:
    """Episodes in which the left half of a noisy image brightens; the right half is any grey."""
    rng = np.random.default_rng(seed)
    episodes = []
    for index in range(count):
        frames = rng.integers(0, 30, (10, 16, 16, 3), np.uint8)
        frames[..., 8:, :] += rng.integers(0, 200, dtype=np.uint8)
        frames[..., :8, :] += np.arange(0, 200, 20, dtype=np.uint8)[:, None, None, None]
        made = episode(10, index)
        made.frames = {"front": frames}
        episodes.append(made)
    return episodes


def test_the_order_of_successes_is_one_number_more_by_which_others_are_ordered(tmp_path: Path):
    plain = FitVideoConfig(iterations=2, batch=4, network=SMALL)
    known = brightening(40)
    known[0].success = False  # fails, and runs backwards: no order is learned from it
    known[0].frames = {"front": known[0].frames["front"][::-1].copy()}
    without, _ = fit_video_encoder(known, plain)
    encoder, _ = fit_video_encoder(known, replace(plain, order=3.0))
    assert encoder.dim == without.dim + 1
    others = [made.frames for made in brightening(4, seed=9)]
    ends = [list(range(2, 11))] * 4
    found = encoder.embed_windows(others, ends)
    assert_close(found[:, :-1], without.embed_windows(others, ends))
    orders = found[:, -1].reshape(4, -1).numpy()
    assert np.mean([np.corrcoef(order, np.arange(9))[0, 1] for order in orders]) > 0.8
    assert (orders[:, -1] > orders[:, 0]).all()
    # As far apart as the weight says, in deviations of the rest, less what the ridge takes.
    known_ends = encoder.embed_windows([made.frames for made in known[1:]], [[2, 10]] * 39)
    apart = (known_ends[1::2, -1] - known_ends[::2, -1]).mean()
    assert 0.3 < apart / (3 * encoder.dim**0.5) < 1.5
    encoder.save(tmp_path)
    again = load_video_encoder(tmp_path)
    assert_close(again.embed(others), encoder.embed(others))
    encoder.fit_order([], 0.0)
    assert encoder.dim == without.dim and encoder.name == without.name


def test_an_order_needs_successes():
    failed = moving(4)
    for made in failed[1:]:
        made.success = False
    config = FitVideoConfig(iterations=1, batch=2, network=SMALL, order=3.0)
    with pytest.raises(StoreError, match="at least 2 successes with frames, got 1"):
        fit_video_encoder(failed, config, lambda done, loss: pytest.fail("it has trained"))
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(RoboError, match="order is"):
            FitVideoConfig(order=weight)


def test_effective_dimensions_show_a_collapse_onto_one_direction():
    generator = torch.Generator().manual_seed(0)
    apart = torch.eye(5, 300)
    assert effective_dimensions(apart) == pytest.approx(4.0)
    line = torch.randn(7, 1, generator=generator) @ torch.randn(1, 300, generator=generator)
    assert effective_dimensions(line + 3.0) == pytest.approx(1.0)
    assert effective_dimensions(line[:1].expand(4, -1)) == 0.0


def test_each_rollout_is_embedded_once_and_by_itself(tmp_path: Path):
    encoder = PixelEncoder(frames=4, size=4)
    cache = EmbeddingCache(encoder, folder=tmp_path)
    first, second = clip(6, 1), clip(6, 2)
    found = cache.embed([first, second, first])
    assert (cache.hits, cache.misses) == (1, 2)
    assert_close(found[0], found[2])
    assert not torch.equal(found[0], found[1])
    cache.embed([second, first])
    assert (cache.hits, cache.misses) == (3, 2)
    later = EmbeddingCache(encoder, folder=tmp_path)
    assert_close(later.embed([second])[0], found[1])
    assert later.misses == 0
    changed = {"front": first["front"].clone()}
    changed["front"][5, 3, 3, 0] ^= 1  # one bit of one frame
    later.embed([changed])
    assert later.misses == 1


def tiny_vjepa2():
    """A V-JEPA 2 of 8 frames of 32 pixels, with random weights, as transformers makes it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.VJEPA2Config(
        crop_size=32,
        frames_per_clip=8,
        hidden_size=24,
        num_attention_heads=2,
        num_hidden_layers=2,
        pred_hidden_size=24,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
    )
    return transformers.VJEPA2Model(config)


@pytest.mark.slow
def test_vjepa2_by_the_classes_of_transformers(tmp_path: Path):
    model = tiny_vjepa2()
    model.save_pretrained(tmp_path)
    encoder = load_video_encoder(f"vjepa2:{tmp_path}", ("front", "side"))
    clips = [clip(12, 1, ("front", "side"), 40), clip(3, 2, ("front", "side"), 40)]
    found = encoder.embed(clips)
    assert found.shape == (2, 48)
    # By hand: 8 of 12 frames, shorter side to int(256/224*32) = 36, crop 32, mean over tokens.
    frames = clips[0]["front"][np.linspace(0, 11, 8, dtype=int)]
    video = normalised_frames(frames, 32, 36)[None]
    with torch.no_grad():
        tokens = model.eval().get_vision_features(video)
    assert tokens.shape == (1, 4 * 2 * 2, 24)
    assert_close(found[0, :24], tokens.mean(1)[0], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(found[0, :24], found[0, 24:])
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_video_encoder(f"vjepa2:{tmp_path / 'none'}")


@pytest.mark.slow
def test_open_clip_averages_unit_embeddings_of_frames():
    open_clip = pytest.importorskip("open_clip")
    from robo.perception.clip import ClipEncoder
    from robo.perception.clip_config import ClipConfig
    from robo.perception.open_clip_video import OpenClipEncoder

    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    model = open_clip.CLIP(20, vision, text)
    inner = ClipEncoder(model, lambda _: torch.zeros(1, 8, dtype=torch.int64), ClipConfig())
    encoder = OpenClipEncoder(inner, ("front",), frames=4)
    clips = [clip(9, 1), clip(2, 2)]
    found = encoder.embed(clips)
    assert found.shape == (2, 20)
    rows = encoder.encode_frames(clips[1]["front"])
    assert_close(rows.norm(dim=1), torch.ones(2))
    assert_close(found[1], rows.mean(0), atol=1e-5, rtol=1e-4)
    # Beginnings, with every frame encoded once, are what whole clips of that length give.
    windows = encoder.embed_windows(clips, [[2, 4, 9], [1, 2]])
    parts = [{"front": clips[0]["front"][:end]} for end in (2, 4, 9)]
    parts += [{"front": clips[1]["front"][:end]} for end in (1, 2)]
    assert_close(windows, encoder.embed(parts), atol=1e-5, rtol=1e-4)


def test_one_rotary_table_gives_what_transformers_gives() -> None:
    model = tiny_vjepa2().eval()

    def tokens(videos: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return model(pixel_values_videos=videos, skip_predictor=True).last_hidden_state

    some = [torch.randn(2, frames, 3, 32, 32) for frames in (8, 4)]
    wanted = [tokens(videos) for videos in some]
    share_rotary(model)
    for videos, one in zip(some * 2, wanted * 2, strict=True):  # the second time from the table
        assert_close(tokens(videos), one, rtol=1e-4, atol=1e-5)


def test_a_single_place_hides_what_is_to_come():
    config = CompactVideoConfig(height=16, width=16, frames=8, size=16, heads=2)
    network = CompactVideoNetwork(config)
    rng = np.random.default_rng(0)
    for _ in range(20):
        seen, hidden = draw_mask(network, FitVideoConfig(network=config), rng)
        assert len(seen) > 0 and len(hidden) > 0 and int(seen.max()) < int(hidden.min())
    with pytest.raises(RoboError, match="one token"):
        CompactVideoConfig(height=16, width=16, frames=2)
