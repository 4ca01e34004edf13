from __future__ import annotations

import numpy as np
import pytest
import torch

from robo.errors import RoboError
from robo.perception.augment import AugmentConfig, jitter, pad_edges, random_shift
from robo.perception.spatial_softmax import SpatialSoftmax
from robo.perception.views import BLANK, blank_views, stack_views, to_float


def images(rows=3, height=8, width=10, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, height, width, 3), dtype=np.uint8)


def test_views_are_stacked_in_the_order_of_the_names():
    views = {"side": images(seed=1), "front": torch.from_numpy(images(seed=2)), "bird": images()}
    batch = stack_views(views, ("front", "side"))
    assert batch.shape == (3, 2, 8, 10, 3) and batch.dtype == torch.uint8
    assert np.array_equal(batch[:, 1].numpy(), views["side"])


@pytest.mark.parametrize(
    ("views", "size", "words"),
    [
        ({"front": images()}, None, "missing"),
        ({"front": images(), "side": images(rows=2)}, None, "rows"),
        ({"front": images(), "side": images(width=9)}, None, "8x9"),
        ({"front": images(), "side": images()}, (16, 16), "16x16"),
        ({"front": images().astype(np.float32), "side": images()}, None, "uint8"),
        ({"front": images()[0], "side": images()}, None, "uint8"),
    ],
)
def test_wrong_views_are_refused_in_one_sentence(views, size, words):
    with pytest.raises(RoboError, match=words):
        stack_views(views, ("front", "side"), size)


def test_to_float_is_channels_last_and_blank_is_zero():
    batch = torch.full((2, 4, 6, 3), BLANK, dtype=torch.uint8)
    scaled = to_float(batch)
    assert scaled.shape == (2, 3, 4, 6) and not scaled.any()
    assert scaled.is_contiguous(memory_format=torch.channels_last)
    assert batch.unique().tolist() == [BLANK]  # the input is left alone


def test_blank_views_keeps_the_chosen_ones():
    batch = stack_views({"front": images(), "side": images(seed=1)}, ("front", "side"))
    blanked = blank_views(batch, ("front", "side"), ("front",))
    assert torch.equal(blanked[:, 0], batch[:, 0]) and bool((blanked[:, 1] == BLANK).all())
    assert bool((batch[:, 1] != BLANK).any())


def test_shift_crops_the_padded_image_by_at_most_the_margin():
    data = images(rows=20).reshape(10, 2, 8, 10, 3)
    padded = pad_edges(data, 2)
    rows = np.array([4, 4, 7])
    shifted = random_shift(padded, rows, 2, np.random.default_rng(0))
    assert shifted.shape == (3, 2, 8, 10, 3)
    for index, row in enumerate(rows):
        for view in range(2):
            crops = [
                padded[row, view, down : down + 8, right : right + 10]
                for down in range(5)
                for right in range(5)
            ]
            assert any(np.array_equal(shifted[index, view], crop) for crop in crops)
    assert np.array_equal(random_shift(data, rows, 0, np.random.default_rng(0)), data[rows])


def test_jitter_without_strength_is_to_float():
    batch = torch.from_numpy(images(rows=6).reshape(3, 2, 8, 10, 3))
    still = AugmentConfig(0, 0.0, 0.0, 0.0, 0.0)
    scaled = jitter(batch, still, np.random.default_rng(0))
    expected = to_float(batch[:, 1]).permute(0, 2, 3, 1)
    torch.testing.assert_close(scaled[:, 1], expected)


def test_jitter_is_affine_per_channel_and_drops_whole_views():
    batch = torch.from_numpy(images(rows=120).reshape(40, 3, 8, 10, 3))
    scaled = jitter(batch, AugmentConfig(view_dropout=0.7), np.random.default_rng(0))
    dropped = (scaled == 0).flatten(2).all(dim=2)
    assert 0.3 < dropped.float().mean() < 0.7
    assert not dropped.all(dim=1).any()  # one view always stays
    kept = torch.nonzero(~dropped)[0]
    pixels = batch[kept[0], kept[1], :, :, 0].double().flatten().numpy()
    values = scaled[kept[0], kept[1], :, :, 0].double().flatten().numpy()
    assert abs(np.corrcoef(pixels, values)[0, 1]) > 1 - 1e-6
    again = jitter(batch, AugmentConfig(view_dropout=0.7), np.random.default_rng(0))
    assert torch.equal(scaled, again)


def test_spatial_softmax_finds_the_peak():
    features = torch.zeros(1, 2, 5, 9)
    features[0, 0, 4, 0] = 50.0  # lower left
    features[0, 1, 2, 8] = 50.0  # middle right
    x0, y0, x1, y1, max0, max1 = SpatialSoftmax()(features)[0].tolist()
    assert (x0, y0, x1, y1) == pytest.approx((-1, 1, 1, 0), abs=1e-4)
    assert (max0, max1) == (50.0, 50.0)
