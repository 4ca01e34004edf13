"""Polygons on pixels: what is within is painted, nothing far outside, nothing is too thin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from robo.sim.carla.standin.sensors.painting import fill

HEIGHT, WIDTH = 24, 32


def paint(*polygons: np.ndarray, values: tuple[int, ...] = (1,)) -> np.ndarray:
    """The picture of polygons, each [C, 2], on zeros."""
    picture = np.zeros((HEIGHT, WIDTH), np.uint32)
    corners = np.full((len(polygons), 5, 2), np.nan)
    for row, polygon in zip(corners, polygons, strict=True):
        row[: len(polygon)] = polygon
    counts = np.array([len(polygon) for polygon in polygons], np.int64)
    fill(picture, corners, counts, np.array(values, np.uint32))
    return picture


def depths(polygon: np.ndarray) -> np.ndarray:
    """How far within a convex polygon each pixel's centre is, in pixels [H, W]; < 0 outside.

    Outside, beside a corner, it errs towards being nearer.
    """
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    ends = np.roll(polygon, -1, 0)
    along = ends - polygon
    sizes = np.hypot(*along.T)
    turn = np.sign(sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(polygon, ends, strict=True)))
    sides = [
        turn * (way[0] * (rows - start[1]) - way[1] * (columns - start[0])) / size
        for start, way, size in zip(polygon, along, sizes, strict=True)
    ]
    return np.min(sides, 0)


def box(x: float, y: float, length: float, width: float, angle: float) -> np.ndarray:
    """A turned rectangle, [4, 2]."""
    cos, sin = np.cos(angle), np.sin(angle)
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (length, width) / 2.0
    return half @ np.array([[cos, sin], [-sin, cos]]) + (x, y)


boxes = st.builds(
    box,
    st.floats(-10, WIDTH + 10),
    st.floats(-10, HEIGHT + 10),
    st.floats(0.5, 60),
    st.floats(0.5, 20),
    st.floats(0, np.pi),
)


@given(polygon=boxes, backwards=st.booleans())
def test_what_is_within_is_painted_and_nothing_far_outside(
    polygon: np.ndarray, backwards: bool
) -> None:
    painted = paint(polygon[::-1] if backwards else polygon) > 0
    depth = depths(polygon)
    assert painted[depth > 1e-6].all()
    assert not painted[depth < -0.75].any()


@given(x=st.floats(0, WIDTH - 1), y=st.floats(0, HEIGHT - 1), angle=st.floats(0, np.pi))
def test_nothing_is_too_thin_to_be_seen(x: float, y: float, angle: float) -> None:
    line = paint(box(x, y, 12.0, 0.01, angle)) > 0
    inside = [(x + t * np.cos(angle), y + t * np.sin(angle)) for t in np.linspace(-5.5, 5.5, 12)]
    for u, v in inside:
        if 0 <= u <= WIDTH - 1 and 0 <= v <= HEIGHT - 1:
            near = line[max(round(v) - 1, 0) : round(v) + 2, max(round(u) - 1, 0) : round(u) + 2]
            assert near.any()
    # A line, not a blot: at most two pixels of each row or of each column.
    assert min(line.sum(0).max(), line.sum(1).max()) <= 2


def test_later_polygons_cover_earlier_ones_and_those_without_corners_nothing() -> None:
    low, high = box(10, 10, 8, 8, 0.0), box(14, 10, 8, 8, 0.0)
    picture = paint(low, high, np.zeros((0, 2)), values=(5, 7, 9))
    assert picture[10, 8] == 5
    assert picture[10, 12] == picture[10, 16] == 7
    assert set(np.unique(picture)) == {0, 5, 7}


def test_corners_far_outside_are_cut_at_the_edges() -> None:
    huge = np.array([[-1e12, -1e12], [1e12, -1e12], [1e12, 1e12], [-1e12, 1e12], [-1e12, 0.0]])
    assert (paint(huge) == 1).all()
    beside = box(-1e9, 10.0, 10.0, 10.0, 0.0)
    assert not paint(beside, values=(1,)).any()
