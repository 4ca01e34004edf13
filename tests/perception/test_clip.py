"""Frames and sentences to unit embeddings by open_clip; one sentence for what cannot be."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest
import torch

open_clip = pytest.importorskip("open_clip")

from robo.errors import CheckpointError, RoboError  # noqa: E402
from robo.perception.clip import ClipEncoder, paraphrases  # noqa: E402
from robo.perception.clip_config import (  # noqa: E402
    RELEASED_IMAGE,
    ClipConfig,
    ClipConfigError,
    ClipShape,
    ImageSource,
)


@pytest.fixture(scope="module")
def encoder(tiny_clip):
    return ClipEncoder.load(ClipConfig(model=str(tiny_clip), batch_size=4))


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (6, 3, 5, 6), generator=generator).float()
    smooth = torch.nn.functional.interpolate(coarse, (40, 48), mode="bilinear")
    return smooth.permute(0, 2, 3, 1).to(torch.uint8)


def test_the_same_as_open_clips_own_path(encoder, tiny_clip, images):
    from PIL import Image

    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tiny_clip}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tiny_clip}")
    model.eval()
    batch = torch.stack([preprocess(Image.fromarray(image.numpy())) for image in images])
    prepared = encoder.prepare(images)
    # Pillow and torch round differently: one of 256 levels.
    assert (prepared - batch).abs().max() < 1.5 / 255 / min(open_clip.OPENAI_DATASET_STD)
    with torch.no_grad():
        wanted = model.encode_image(prepared, normalize=True)
        sentences = model.encode_text(tokenizer(["a car", "two cars"]), normalize=True)
    torch.testing.assert_close(encoder.images(images), wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.texts(["a car", "two cars"]), sentences, atol=1e-5, rtol=0)


def test_batches_change_nothing(encoder, images):
    whole = encoder.images(images)
    single = torch.cat([encoder.images(image[None]) for image in images])
    torch.testing.assert_close(whole, single, atol=1e-6, rtol=0)
    torch.testing.assert_close(whole.norm(dim=-1), torch.ones(6))
    assert encoder.images(images[:0]).shape == (0, 32)


def test_sentences_go_through_once(tiny_clip, monkeypatch):
    encoder = ClipEncoder.load(ClipConfig(model=str(tiny_clip)))
    asked = []
    original = encoder.model.encode_text
    monkeypatch.setattr(
        encoder.model,
        "encode_text",
        lambda tokens: (asked.append(len(tokens)), original(tokens))[1],
    )
    first = encoder.texts(["a", "b", "a"])
    assert torch.equal(encoder.texts(["b", "a"]), first[[1, 0]])
    encoder.texts(["c", "a"])
    assert asked == [2, 1]


def test_paraphrases_are_averaged(encoder):
    assert paraphrases("a car | an auto") == ["a car", "an auto"]
    both = encoder.texts(["a car", "an auto"]).mean(dim=0)
    torch.testing.assert_close(encoder.goals(["a car | an auto"])[0], both / both.norm())


def test_crop_and_resize_keep_what_they_should(encoder):
    images = torch.zeros(1, 20, 40, 3, dtype=torch.uint8)
    images[:, :, 20:] = 255
    white = (1 - encoder._mean) / encoder._std
    right = encoder.prepare(images, ImageSource(crop=(0.5, 0.0, 1.0, 1.0)))
    torch.testing.assert_close(right[0], white.expand(3, 32, 32))
    padded = encoder.prepare(images, ImageSource(resize="pad"))[0, 0]
    # 40 x 20 becomes 32 x 16: eight grey rows above and below.
    assert padded[:8].std() == 0 and padded[-8:].std() == 0 and padded[8:24].std() > 0
    stretched = encoder.prepare(images, ImageSource(resize="stretch"))[0, 0]
    assert stretched[:, 20:].mean() == pytest.approx(float(white[0]), abs=0.01)
    cut = encoder.prepare(images, ImageSource())[0, 0]
    assert cut.shape == (32, 32) and cut[:, :12].std() < 0.1


def test_the_released_image_is_the_right_half():
    assert RELEASED_IMAGE.box(517, 517) == (258, 0, 517, 517)


def test_floats_are_bytes_scaled(encoder, images):
    assert torch.equal(encoder.prepare(images.float() / 255), encoder.prepare(images))
    assert torch.equal(encoder.images(images.numpy()), encoder.images(images))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.full((3, 8, 8, 3), np.nan, np.float32), r"frames \[0, 1, 2\] of 3 hold NaN"),
        (torch.full((1, 8, 8, 3), 7.0), "0 to 1"),
        (torch.zeros(1, 8, 8, 3, dtype=torch.int64), "uint8"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), "expected \\[rows"),
    ],
)
def test_frames_that_are_none(encoder, images, said):
    with pytest.raises(RoboError, match=said):
        encoder.images(images)


def test_damaged_weights_are_refused(tiny_clip):
    encoder = ClipEncoder.load(ClipConfig(model=str(tiny_clip)))
    encoder.model.visual.proj.fill_(float("nan"))
    with pytest.raises(RoboError, match="embeddings of frames hold NaN"):
        encoder.images(torch.zeros(1, 8, 8, 3, dtype=torch.uint8))


@pytest.mark.parametrize("sentences", [[], [""], ["a", "  "]])
def test_empty_sentences(encoder, sentences):
    with pytest.raises(RoboError, match="describe each"):
        encoder.texts(sentences)


def test_models_that_cannot_be_loaded(tiny_clip, tmp_path):
    def load(model, pretrained=""):
        return ClipEncoder.load(ClipConfig(model=str(model), pretrained=str(pretrained)))

    with pytest.raises(CheckpointError, match="near: ViT-B-32"):
        load("ViT-B32")
    with pytest.raises(CheckpointError, match="neither a file nor a tag"):
        load("ViT-B-32", "laion")
    with pytest.raises(CheckpointError, match="no open_clip_config"):
        load(tmp_path)
    weights = tmp_path / "other"
    shutil.copytree(tiny_clip, weights)
    config = json.loads((weights / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["width"] = 64
    (weights / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="another architecture"):
        load(weights)
    (weights / "open_clip_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(weights)
    (weights / "open_clip_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(weights)


@pytest.mark.parametrize("multiplies", [True, False])
def test_a_precision_that_this_processor_is_slow_with_is_told(tiny_clip, monkeypatch, multiplies):
    monkeypatch.setattr("robo.precision.CPU_BFLOAT16", multiplies)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ClipEncoder.load(ClipConfig(model=str(tiny_clip), precision="bf16"))
    assert any("bf16 is slow on this processor" in str(one.message) for one in told) != multiplies


def test_settings_out_of_range():
    for settings in ({"model": " "}, {"batch_size": 0}):
        with pytest.raises(ClipConfigError):
            ClipConfig(**settings)
    for settings in (
        {"view": "top"},
        {"height": 0},
        {"crop": (0.5, 0.0, 0.5, 1.0)},
        {"crop": (0.0, 0.0, 1.0, 1.2)},
    ):
        with pytest.raises(ClipConfigError):
            ImageSource(**settings)
    for settings in (
        {"image_size": 48},
        {"tower": "transformer", "patch_size": 7},
        {"heads": 3},
        {"layers": 0},
    ):
        with pytest.raises(ClipConfigError):
            ClipShape(**settings)


def test_direct_attention_gives_what_multihead_attention_gives() -> None:
    from robo.perception.clip_speed import direct_attention

    torch.manual_seed(0)
    block = open_clip.transformer.ResidualAttentionBlock(32, 4).eval()
    states, mask = torch.randn(2, 5, 32), torch.full((5, 5), float("-inf")).triu(1)
    with torch.no_grad():
        wanted = [block(states), block(states, attn_mask=mask), block(states, states, states)]
        direct_attention([block])
        found = [block(states), block(states, attn_mask=mask), block(states, states, states)]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_mask_is_no_padding_where_keys_are_others() -> None:
    from robo.perception.clip_speed import attend

    torch.manual_seed(0)
    inner = torch.nn.MultiheadAttention(32, 4, batch_first=True).eval()
    states, keys = torch.randn(2, 5, 32), torch.randn(2, 5, 32)
    mask = torch.full((5, 5), float("-inf")).triu(1)
    with torch.no_grad():
        wanted = inner(states, keys, keys, need_weights=False, attn_mask=mask)[0]
        torch.testing.assert_close(attend(inner, states, keys, keys, mask), wanted)


def test_a_last_block_for_the_class_token_alone(tiny_clip) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    from robo.perception.clip_speed import class_token_last

    model = open_clip.create_model(f"local-dir:{tiny_clip}").eval()
    pixels = torch.randn(3, 3, 32, 32)

    def seen() -> tuple[torch.Tensor, int, list[torch.Tensor]]:
        model.zero_grad()
        with FlopCounterMode(display=False) as counter:
            found = model.encode_image(pixels)
        found.square().sum().backward()
        grads = [part.grad.clone() for part in model.visual.parameters() if part.grad is not None]
        return found.detach(), counter.get_total_flops(), grads

    names = list(model.state_dict())
    whole, cost, slopes = seen()
    assert class_token_last(model.visual)
    less, lower, same = seen()
    torch.testing.assert_close(less, whole, atol=1e-5, rtol=1e-5)
    assert lower < 0.75 * cost  # of two blocks, nearly all of one but its keys and values
    for one, other in zip(same, slopes, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert list(model.state_dict()) == names


@pytest.mark.parametrize("vision", [{"pool_type": "avg"}, {"attentional_pool": True}])
def test_models_that_pool_otherwise_keep_their_last_block(vision) -> None:
    from robo.perception.clip_speed import class_token_last

    tower = open_clip.transformer.VisionTransformer(16, 8, 32, 2, 2, 2.0, output_dim=8, **vision)
    assert not class_token_last(tower.eval())
    assert not class_token_last(torch.nn.Linear(2, 2))
