"""Clusters of successful rollouts in embedding space: the references of SRPO's progress reward.

The released code standardises each dimension and runs DBSCAN with eps 0.5. After that step the
mean squared distance between two of n points is 2nD/(n-1): at 1,408 dimensions at least 53 on
average, a hundred times eps. Distinct rollouts never join, and its fallback, the mean of all
successes, is what it always uses. Here the scale comes from the data.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np

Space = Literal["pca", "cosine", "euclidean"]

NOISE = -1
"""Label of a point that belongs to no cluster."""
NEIGHBOURS = (1, 2, 4)
"""Which nearest neighbours' distances offer scales."""
QUANTILES = (0.5, 0.75, 0.9, 1.0)
"""Quantiles of these distances that are tried."""
MARGIN = 1.05
"""Scales are this much longer, so that points at just this distance join."""
MINIMUM_SILHOUETTE = 0.7
"""Clusters count only from here: "a strong structure" (Kaufman and Rousseeuw, 1990)."""
MINIMUM_CLUSTERED = 0.8
"""Share of points that a clustering must place."""
MAXIMUM_COMPONENTS = 32
"""Principal components kept at most."""


@dataclass(frozen=True)
class Clusters:
    """Clusters of n points of D dimensions."""

    centres: np.ndarray
    """float64 ``[C, D]``, means of the clusters' points in the original space, C at least 1."""
    labels: np.ndarray
    """int64 ``[n]``, 0 ... C-1, or -1 for a point of no cluster."""
    scale: float
    """DBSCAN's eps, in the space of the method; 0 where none was needed."""
    method: str
    """How they came about, the fallback named where it was used."""


def cluster(points: np.ndarray, space: Space = "pca") -> Clusters:
    """Find the clusters of ``points [n, D]``, n at least 1.

    DBSCAN at the scales that nearest-neighbour distances offer; the scale with the best mean
    silhouette wins. Where no clustering is convincing (fewer than four successes, or such as differ
    by degrees, as those from random initial states do), each is a centre of its own: a mean of
    videos of different scenes is the video of none.

    Args:
        points: finite numbers.
        space: where distances are taken: on the principal components that stand out (most
            dimensions of a video embedding are noise, which hides clusters), between directions,
            or as they are.

    Returns:
        Clusters with their centres in the original space.
    """
    points = np.asarray(points, np.float64)
    count = len(points)
    if count == 1:
        return Clusters(points.copy(), np.zeros(1, np.int64), 0.0, "the one success")
    projected = project(points, space)
    distance = _distances(projected)
    if not distance.max() > 1e-9 * max(1.0, float(np.abs(points).max())):
        return _one(points, "one point (all successes are equal)")
    if count < 4:
        return _each(points, f"{count} are too few to cluster")
    best, quality, scale = None, MINIMUM_SILHOUETTE, 0.0
    for eps in _scales(distance):
        labels = _dbscan(distance, eps)
        found = _silhouette(distance, labels)
        if found > quality:
            best, quality, scale = labels, found, eps
    if best is None:
        return _each(points, "no clusters stand out")
    return _clusters(points, best, scale, f"dbscan on {space}, silhouette {quality:.2f}")


def cluster_released(points: np.ndarray) -> Clusters:
    """Clusters as SRPO's released code finds them: DBSCAN(0.5, 2) on standardised points.

    Its fallback is the mean of all points.
    """
    from sklearn.cluster import DBSCAN
    from sklearn.preprocessing import StandardScaler

    points = np.asarray(points, np.float64)
    labels = DBSCAN(eps=0.5, min_samples=2).fit_predict(StandardScaler().fit_transform(points))
    if (labels == NOISE).all():
        return Clusters(points.mean(0, keepdims=True), labels, 0.5, "mean (fallback: no clusters)")
    return _clusters(points, labels, 0.5, "dbscan(0.5, 2) on standardised dimensions")


def project(points: np.ndarray, space: Space) -> np.ndarray:
    """``points [n, D]`` in the space where distances are taken.

    ``pca`` keeps components whose variance is above twice the median one: of isotropic noise
    none stands out, and all are kept.
    """
    if space == "euclidean":
        return points
    if space == "cosine":
        return points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    centred = points - points.mean(0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    variance = singular[: len(points) - 1] ** 2
    stands_out = int((variance > 2.0 * np.median(variance)).sum())
    kept = min(stands_out, MAXIMUM_COMPONENTS) or len(singular)
    return left[:, :kept] * singular[:kept]


def _distances(points: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import pdist, squareform

    return squareform(pdist(points))


def _scales(distance: np.ndarray) -> list[float]:
    """Candidates for eps: quantiles of the distances to near neighbours."""
    ordered = np.sort(distance, axis=1)
    found = {
        MARGIN * float(np.quantile(ordered[:, min(near, len(ordered) - 1)], quantile))
        for near in NEIGHBOURS
        for quantile in QUANTILES
    }
    return sorted(scale for scale in found if scale > 0)


def _dbscan(distance: np.ndarray, eps: float) -> np.ndarray:
    from sklearn.cluster import DBSCAN

    return DBSCAN(eps=eps, min_samples=2, metric="precomputed").fit_predict(distance)


def _silhouette(distance: np.ndarray, labels: np.ndarray) -> float:
    """Mean silhouette of the placed points; -1 where it is no clustering at all."""
    from sklearn.metrics import silhouette_score

    placed = labels != NOISE
    kinds = len(np.unique(labels[placed]))
    if placed.mean() < MINIMUM_CLUSTERED or not 2 <= kinds < placed.sum():
        return -1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = silhouette_score(
            distance[np.ix_(placed, placed)], labels[placed], metric="precomputed"
        )
    return float(found) * float(placed.mean())


def _one(points: np.ndarray, method: str) -> Clusters:
    return Clusters(points.mean(0, keepdims=True), np.zeros(len(points), np.int64), 0.0, method)


def _each(points: np.ndarray, why: str) -> Clusters:
    own = np.arange(len(points), dtype=np.int64)
    return Clusters(points.copy(), own, 0.0, f"each success (fallback: {why})")


def _clusters(points: np.ndarray, labels: np.ndarray, scale: float, method: str) -> Clusters:
    kinds = np.unique(labels[labels != NOISE])
    centres = np.stack([points[labels == kind].mean(0) for kind in kinds])
    return Clusters(centres, np.asarray(labels, np.int64), float(scale), method)
