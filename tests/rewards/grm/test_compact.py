from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from robo.errors import CheckpointError, RoboError
from robo.rewards.grm.compact import CompactGRM, CompactGRMConfig


def frames(rows=3, height=32, width=32, views=("front", "side", "wrist")):
    rng = np.random.default_rng(0)
    return {view: rng.integers(0, 256, (rows, height, width, 3), np.uint8) for view in views}


def test_default_network_is_small():
    assert CompactGRM().parameter_count() <= 300_000


@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 64), (100, 33)])
@pytest.mark.parametrize("views", [("wrist",), ("front", "side"), ("bird", "left", "right")])
def test_any_size_and_subset_of_views(height, width, views):
    grm = CompactGRM(CompactGRMConfig(views, height, width))
    embedding = grm.encode(frames(2, height, width, views))
    assert embedding.shape == (2, 128)
    hops = grm.hops(embedding, embedding.flip(0), embedding[:1], embedding[0])
    assert hops.shape == (2,) and float(hops.detach().abs().max()) <= 1


def test_hops_equal_the_head_over_concatenated_embeddings():
    grm = CompactGRM()
    before, after, start, goal = torch.randn(4, 5, 128).unbind(0)
    weight = torch.cat(grm.parts.weight.chunk(5), dim=1)
    bias = grm.parts.bias.reshape(5, -1)[[0, 1, 3, 4]].sum(dim=0)
    joined = torch.cat([before, after, after - before, start, goal], dim=1)
    expected = grm.head(joined @ weight.T + bias).squeeze(-1)
    torch.testing.assert_close(grm.hops(before, after, start, goal), expected)


def test_batch_size_does_not_matter(small_grm):
    views = frames(5)
    with torch.no_grad():
        together = small_grm.encode(views)
        alone = torch.cat(
            [small_grm.encode({k: v[i : i + 1] for k, v in views.items()}) for i in range(5)]
        )
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_front_only_references_ignore_other_views():
    config = CompactGRMConfig(height=32, width=32, reference_views=("front",))
    grm = CompactGRM(config)
    one, other = frames(), frames()
    other["wrist"] = 255 - other["wrist"]
    assert torch.equal(grm.encode(one, reference=True), grm.encode(other, reference=True))
    assert not torch.equal(grm.encode(one), grm.encode(other))


def test_wrong_input_is_refused(small_grm):
    with pytest.raises(RoboError, match="missing"):
        small_grm.encode(frames(views=("front", "side")))
    with pytest.raises(RoboError, match="64x64"):
        small_grm.encode(frames(height=64, width=64))
    with pytest.raises(RoboError, match="too small"):
        CompactGRMConfig(height=16)
    with pytest.raises(RoboError, match="not among"):
        CompactGRMConfig(("front",), reference_views=("side",))
    with pytest.raises(RoboError, match="different"):
        CompactGRMConfig(())
    with pytest.raises(RoboError, match="no reference START"):
        CompactGRM().reference_embeddings()


def test_save_and_load_round_trip(small_grm, tmp_path):
    small_grm.summary = {"loss_last": 0.1}
    small_grm.save(tmp_path / "grm")
    loaded = CompactGRM.load(tmp_path / "grm")
    assert not loaded.training and loaded.config == small_grm.config
    assert (loaded.task, loaded.instruction) == (small_grm.task, small_grm.instruction)
    assert loaded.summary == {"loss_last": 0.1}
    with torch.no_grad():
        for mine, theirs in zip(
            loaded.reference_embeddings(), small_grm.reference_embeddings(), strict=True
        ):
            assert torch.equal(mine, theirs)
    assert torch.equal(loaded.reference["goal"]["wrist"], small_grm.reference["goal"]["wrist"])
    assert sorted(path.name for path in (tmp_path / "grm").iterdir()) == [
        "grm.json",
        "model.safetensors",
    ]


def test_damaged_folders_are_refused(small_grm, tmp_path):
    with pytest.raises(CheckpointError, match=r"grm\.json"):
        CompactGRM.load(tmp_path / "nowhere")
    folder = tmp_path / "grm"
    small_grm.save(folder)
    weights, text = folder / "model.safetensors", folder / "grm.json"
    whole, description = weights.read_bytes(), text.read_text()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="safetensors"):
        CompactGRM.load(folder)
    weights.write_bytes(whole)
    text.write_text(description[:40])
    with pytest.raises(CheckpointError, match=r"grm\.json"):
        CompactGRM.load(folder)
    wrong = json.loads(description)
    wrong["config"]["hidden"] = 99
    text.write_text(json.dumps(wrong))
    with pytest.raises(CheckpointError, match="safetensors"):
        CompactGRM.load(folder)
    wrong["format"] = 7
    text.write_text(json.dumps(wrong))
    with pytest.raises(CheckpointError, match="format 7"):
        CompactGRM.load(folder)
    text.write_text(json.dumps({**json.loads(description), "config": {"nonsense": 1}}))
    with pytest.raises(CheckpointError, match="nonsense"):
        CompactGRM.load(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match="safetensors"):
        CompactGRM.load(folder)
