"""SRPO's progress reward: failures are paid by how near they came to the successes they are with.

Fei et al., "SRPO: Self-Referential Policy Optimization for Vision-Language-Action Models",
arXiv 2511.15605, equations 2 to 5, and the released code where the two differ. One number per
rollout: 1 for a success; for a failure a share of 1 that grows as its video embedding comes
nearer to the clusters of successful rollouts of the same task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from robo.errors import RoboError
from robo.rewards.success_clusters import Clusters, Space, cluster, cluster_released

Variant = Literal["paper", "released"]

PAPER_SCALE = 0.8
"""Highest reward of a failure, the best of the paper's ablation (appendix D)."""
RELEASED_SCALE, RELEASED_STEEPNESS = 0.6, 10.0
"""Highest reward of a failure, and steepness of its sigmoid, in the released code."""


class SRPOError(RoboError, ValueError):
    """Embeddings, outcomes and tasks that do not fit together."""


@dataclass(frozen=True)
class TaskReport:
    """What the reward of one task's rollouts came from, for logs."""

    successes: int
    """In the batch, with a video."""
    failures: int
    """In the batch, with a video."""
    references: int
    """Embeddings that clusters were made of."""
    clusters: int
    """Number of centres; 0 where there was no reference."""
    method: str
    """How the centres came about."""


@dataclass
class Progress:
    """Rewards of a batch, and where they came from."""

    reward: Tensor
    """float ``[E]`` in [0, 1]."""
    distance: Tensor
    """float ``[E]``, L2 distance to the nearest centre; NaN where there is no centre or video."""
    tasks: dict[int, TaskReport] = field(default_factory=dict)
    """By task."""


def progress_rewards(
    embedding: Tensor,
    success: Tensor,
    task: Tensor,
    variant: Variant = "paper",
    *,
    empty: Tensor | None = None,
    references: Mapping[int, Tensor] | None = None,
    space: Space = "pca",
) -> Tensor:
    """One reward per rollout.

    With d the squared L2 distance of a failure to the nearest centre of its task's successes
    and z = (d - mean)/std over the failures of that task (population std):

    * ``paper``: 1, or 0.8 sigmoid(-z). The paper prints sigmoid(z), by which the farthest failure
      would get most; the mended sign is meant. Centres come from
      :func:`robo.rewards.success_clusters.cluster`.
    * ``released``: 1, or 0.6 sigmoid(10 (0.5 - u)) with u the min-max of the plain L2 distance.
      Centres come from :func:`robo.rewards.success_clusters.cluster_released`.

    One success is its own centre. One failure, or failures at equal distances: z = 0, u = 0.5.
    A task without a reference: its failures get 0.

    Args:
        embedding: float ``[E, D]``, finite.
        success: bool ``[E]``.
        task: int ``[E]``.
        variant: whose formula.
        empty: bool ``[E]``, rollouts without any video. They count in no statistic; a failure
            gets 0, and a success 1 (``released``: 0, as there). None takes rows of zeros for
            empty, but for a task's only success.
        references: task to embeddings ``[R, D]`` of earlier or demonstrated successes, which
            take the place of the batch's own for the tasks that they name.
        space: of the mended clustering.

    Returns:
        ``[E]`` in [0, 1], on the device and in the dtype of ``embedding``.

    Raises:
        SRPOError: shapes that do not fit, values that are not finite, or an unknown variant.
    """
    return score_progress(
        embedding, success, task, variant, empty=empty, references=references, space=space
    ).reward


def score_progress(
    embedding: Tensor,
    success: Tensor,
    task: Tensor,
    variant: Variant = "paper",
    *,
    empty: Tensor | None = None,
    references: Mapping[int, Tensor] | None = None,
    space: Space = "pca",
) -> Progress:
    """:func:`progress_rewards` with distances and a report per task; the same arguments."""
    embedding = torch.as_tensor(embedding)
    points, won, tasks = _checked(embedding, success, task, variant)
    blank = _empty(points, won, tasks) if empty is None else _array(empty).astype(bool)
    if blank.shape != won.shape:
        raise SRPOError(f"empty has shape {blank.shape}, expected one flag per rollout {won.shape}")
    reward = won.astype(np.float64)
    if variant == "released":
        reward[blank] = 0.0
    distance = np.full(len(points), np.nan)
    reports: dict[int, TaskReport] = {}
    for name in np.unique(tasks).tolist():
        mine = (tasks == name) & ~blank
        failed = np.flatnonzero(mine & ~won)
        known = points[mine & won]
        if references is not None and name in references:
            known = _reference(references[name], points.shape[1], name)
        found: Clusters | None = None
        if len(known):
            found = cluster(known, space) if variant == "paper" else cluster_released(known)
            everyone = np.flatnonzero(mine)
            distance[everyone] = nearest_distance(points[everyone], found.centres)
            reward[failed] = _of_failures(distance[failed], variant)
        reports[int(name)] = TaskReport(
            successes=int((mine & won).sum()),
            failures=len(failed),
            references=len(known),
            clusters=0 if found is None else len(found.centres),
            method="none (no success yet)" if found is None else found.method,
        )
    dtype = embedding.dtype if embedding.dtype.is_floating_point else torch.float32
    paid, far = (torch.from_numpy(part).to(embedding.device, dtype) for part in (reward, distance))
    return Progress(paid, far, reports)


def nearest_distance(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """L2 distance ``[n]`` of ``points [n, D]`` to the nearest of ``centres [C, D]``."""
    # By differences, not by products: a point at a centre is at distance 0 exactly.
    return np.stack([np.linalg.norm(points - centre, axis=1) for centre in centres]).min(axis=0)


def _of_failures(distance: np.ndarray, variant: Variant) -> np.ndarray:
    """Rewards of one task's failures from their L2 distances ``[F]``."""
    if not len(distance):
        return distance
    if variant == "paper":
        squared = distance**2
        spread = squared.std()
        # A spread in the last bits is none: equal rollouts get equal rewards.
        flat = spread <= 1e-9 * max(float(squared.max()), 1e-30)
        score = np.zeros_like(squared) if flat else (squared - squared.mean()) / spread
        return PAPER_SCALE * _sigmoid(-score)
    width = np.ptp(distance)
    unit = np.full_like(distance, 0.5) if width < 1e-6 else (distance - distance.min()) / width
    return RELEASED_SCALE * _sigmoid(RELEASED_STEEPNESS * (0.5 - unit))


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-values))


def _array(values: Tensor | np.ndarray) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _checked(
    embedding: Tensor, success: Tensor, task: Tensor, variant: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if variant not in ("paper", "released"):
        raise SRPOError(f"variant {variant!r} of SRPO's reward must be 'paper' or 'released'")
    if embedding.ndim != 2:
        raise SRPOError(f"embeddings have shape {tuple(embedding.shape)}, expected [E, D]")
    points = _array(embedding.double())
    won, tasks = _array(success).astype(bool), _array(task)
    for name, values in (("success", won), ("task", tasks)):
        if values.shape != (len(points),):
            raise SRPOError(
                f"{name} has shape {values.shape}, expected one per embedding, {(len(points),)}"
            )
    wrong = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(wrong):
        raise SRPOError(
            f"embedding of rollout {int(wrong[0])} holds NaN or infinity; look at the video "
            "encoder that made it"
        )
    return points, won, tasks


def _empty(points: np.ndarray, won: np.ndarray, tasks: np.ndarray) -> np.ndarray:
    """Rows of zeros, which encoders give for a clip without frames.

    A task's only success is never taken for one: there, the origin is a place like any other.
    """
    zero = np.asarray(~points.any(axis=1))
    for row in np.flatnonzero(zero & won):
        zero[row] = (won & (tasks == tasks[row])).sum() > 1
    return zero


def _reference(values: Tensor, dim: int, task: int) -> np.ndarray:
    points = _array(values.double())
    if points.ndim != 2 or points.shape[1] != dim:
        raise SRPOError(
            f"references of task {task} have shape {points.shape}, expected [R, {dim}]; embed them "
            "by the same encoder"
        )
    return points
