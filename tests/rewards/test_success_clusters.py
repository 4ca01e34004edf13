"""Clusters of successes: found in high dimension where the released setting finds none."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from robo.rewards.success_clusters import NOISE, cluster, cluster_released


def planted(kinds: int, each: int, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of 1,408 dimensions around ``kinds`` centres, whose spread is relative to theirs."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(kinds), each)
    centre = spread * rng.normal(size=(kinds, 1408))
    return centre[label] + rng.normal(size=(len(label), 1408)), label


@pytest.mark.parametrize(
    ("kinds", "each", "spread"), [(3, 20, 1.0), (3, 20, 0.3), (4, 10, 1.0), (2, 6, 2.0)]
)
def test_planted_clusters_are_found_where_the_released_setting_finds_none(kinds, each, spread):
    for seed in range(2):
        points, label = planted(kinds, each, spread, seed)
        found = cluster(points)
        assert adjusted_rand_score(label, found.labels) >= 0.95
        assert len(found.centres) == kinds and "dbscan on pca" in found.method
        released = cluster_released(points)
        assert (released.labels == NOISE).all()
        np.testing.assert_allclose(released.centres, points.mean(0)[None])


def test_without_structure_each_is_a_centre():
    rng = np.random.default_rng(0)
    for inner in (2, 6, 1408):
        points = rng.normal(size=(40, inner)) @ rng.normal(size=(inner, 1408))
        found = cluster(points)
        np.testing.assert_array_equal(found.centres, points)
        assert found.labels.tolist() == list(range(40))
        assert found.method == "each success (fallback: no clusters stand out)"


def test_few_and_equal_points():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(3, 50))
    one = cluster(points[:1])
    np.testing.assert_array_equal(one.centres, points[:1])
    np.testing.assert_allclose(cluster(points).centres, points)
    equal = cluster(np.repeat(points[:1], 5, axis=0))
    np.testing.assert_allclose(equal.centres, points[:1])
    # Near-duplicates are what makes the released setting find clusters at all.
    doubled = np.concatenate([points, points + 1e-4])
    assert len(cluster_released(doubled).centres) == 3


@pytest.mark.parametrize("space", ["cosine", "euclidean", "pca"])
def test_every_space_finds_what_is_far_apart(space):
    rng = np.random.default_rng(1)
    label = np.repeat([0, 1, 2], 8)
    points = 10 * rng.normal(size=(3, 12))[label] + rng.normal(size=(24, 12))
    assert adjusted_rand_score(label, cluster(points, space).labels) == 1.0


def test_two_halves_of_a_line_are_no_clusters():
    """Successes that differ by degrees fall into halves as soon as a stretch is missing."""
    rng = np.random.default_rng(0)
    place = np.concatenate([np.linspace(0.0, 1.0, 20), np.linspace(1.2, 2.2, 20)])
    points = place[:, None] * rng.normal(size=(1, 300)) + 1e-3 * rng.normal(size=(40, 300))
    found = cluster(points)
    np.testing.assert_array_equal(found.centres, points)
    apart = cluster(points + 9.0 * (place > 1.1)[:, None] * points.std())
    assert len(apart.centres) == 2 and "dbscan" in apart.method
