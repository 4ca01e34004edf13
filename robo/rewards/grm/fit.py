"""Fit a compact GRM on stored demonstrations, and on failures that carry a progress ceiling."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

# The first optimiser of a process imports torch._dynamo, and on some machines that import crashes
# (silently, signal 11) once an EGL context of llvmpipe exists. Importing it with this module puts
# it before any rendering of a command that fits and renders in one process.
import torch._dynamo
from torch import nn

from robo.errors import RoboError
from robo.perception.augment import jitter, random_shift
from robo.perception.views import blank_views
from robo.rewards.grm.bank import FrameBank
from robo.rewards.grm.compact import CompactGRM, CompactGRMConfig
from robo.rewards.grm.fit_config import FitConfig
from robo.rewards.grm.pairs import FrameTable, Pairs, sample_pairs
from robo.rollout import Episode


@dataclass(frozen=True)
class FitProgress:
    """What the caller's progress bar is told after each training step."""

    iteration: int
    """Steps done."""
    iterations: int
    """Steps planned."""
    loss: float
    """Loss of this step."""
    seconds: float
    """Wall time since the first step."""


def training_rows(
    bank: FrameBank, config: FitConfig, rng: np.random.Generator
) -> tuple[np.ndarray, FrameTable]:
    """Bank rows ``[F]`` of one training step, and the table that pairs are drawn from.

    Each demonstration gives its first and last frame; every episode's other rows are spread
    evenly over its length, at random within their stretch.
    """
    wanted = config.episodes_per_step
    failures = round(wanted * (1.0 - config.demo_share)) if len(bank.failures) else 0
    demos = min(max(wanted - failures, 1), len(bank.demos))
    failures = min(wanted - demos, len(bank.failures))
    chosen_demos = rng.choice(bank.demos, demos, replace=False)
    chosen = np.concatenate([chosen_demos, rng.choice(bank.failures, failures, replace=False)])
    size = config.rows_per_episode
    spread = (np.arange(size)[None] + rng.random((len(chosen), size))) / size
    rows = bank.first[chosen][:, None] + (spread * bank.count[chosen][:, None]).astype(np.int64)
    rows[:demos, 0] = bank.first[chosen_demos]
    rows[:demos, -1] = bank.first[chosen_demos] + bank.count[chosen_demos] - 1
    start, goal = np.arange(demos) * size, np.arange(demos) * size + size - 1
    # One reference set per demonstration, and as many averaged over several, as used in scoring.
    mixed = rng.integers(0, demos, (demos, config.references))
    single = np.repeat(np.arange(demos)[:, None], config.references, axis=1)
    members = np.concatenate([single, mixed])
    flat = rows.ravel()
    table = FrameTable(
        bank.label[flat], bank.episode[flat], bank.step[flat], start[members], goal[members]
    )
    return flat, table


def step_loss(
    grm: CompactGRM,
    bank: FrameBank,
    rows: np.ndarray,
    table: FrameTable,
    pairs: Pairs,
    config: FitConfig,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Loss of one training step: encode each frame once, then look pairs up in the table."""
    device = grm.device
    images = torch.from_numpy(random_shift(bank.padded, rows, config.augment.shift, rng))
    images = jitter(images.to(device), config.augment, rng)
    embedding = grm.encode_float(images)
    shown = embedding
    if config.reference_views:
        used = np.unique(np.concatenate([table.starts.ravel(), table.goals.ravel()]))
        views = blank_views(images[used], config.views, config.reference_views, blank=0)
        shown = embedding.clone()
        shown[used] = grm.encode_float(views)
    starts = shown[torch.from_numpy(table.starts).to(device)].mean(dim=1)
    goals = shown[torch.from_numpy(table.goals).to(device)].mean(dim=1)
    before, after, _, _ = grm.roles(torch.cat([embedding, goals]))
    reference = grm.roles(starts)[2] + grm.roles(goals)[3]
    index = {
        name: torch.from_numpy(getattr(pairs, name)).to(device)
        for name in ("before", "after", "reference")
    }
    # index_select's backward adds rows in order: fast, and the same bits in every run.
    hop = grm.hops_from_roles(
        before.index_select(0, index["before"]),
        after.index_select(0, index["after"]),
        reference.index_select(0, index["reference"]),
        torch.zeros(1, device=device),
    )
    target = torch.from_numpy(pairs.hop).to(device)
    return nn.functional.smooth_l1_loss(hop, target, beta=config.beta)


def learning_rate_factor(fraction: float) -> float:
    """Linear warm-up over the first 5 %, then a half cosine to 0; ``fraction`` in [0, 1]."""
    return min(1.0, fraction / 0.05 + 0.02) * 0.5 * (1.0 + math.cos(math.pi * min(fraction, 1.0)))


def train(
    grm: CompactGRM,
    bank: FrameBank,
    config: FitConfig,
    rng: np.random.Generator,
    on_progress: Callable[[FitProgress], None] | None,
) -> list[float]:
    """Run the training steps; return the loss of each."""
    optimizer = torch.optim.AdamW(
        grm.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    began = time.perf_counter()
    limit = None if config.minutes is None else 60.0 * config.minutes
    losses: list[float] = []
    for iteration in range(config.iterations):
        elapsed = time.perf_counter() - began
        fraction = iteration / config.iterations
        if limit is not None:
            if elapsed >= limit:
                break
            fraction = max(fraction, elapsed / limit)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate_factor(fraction)
        rows, table = training_rows(bank, config, rng)
        pairs = sample_pairs(table, config.pairs, rng)
        optimizer.zero_grad(set_to_none=True)
        loss = step_loss(grm, bank, rows, table, pairs, config, rng)
        loss.backward()
        nn.utils.clip_grad_norm_(grm.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise RoboError(
                f"GRM training diverged at step {iteration + 1} (loss {losses[-1]}); lower "
                f"learning_rate, now {config.learning_rate}"
            )
        if on_progress is not None:
            seconds = time.perf_counter() - began
            on_progress(FitProgress(iteration + 1, config.iterations, losses[-1], seconds))
    return losses


def fit_grm(
    episodes: Iterable[Episode],
    config: FitConfig | None = None,
    on_progress: Callable[[FitProgress], None] | None = None,
) -> tuple[CompactGRM, dict[str, object]]:
    """Fit a compact GRM.

    Args:
        episodes: a :class:`robo.data.EpisodeStore` or any iterable of episodes of one task:
            successes are demonstrations; failures need ``metadata["progress_ceiling"]``, others
            are left out (and counted).
        config: options.
        on_progress: called after every training step.

    Returns:
        The model in evaluation mode, with its references, and the training summary (also
        ``grm.summary``).

    Raises:
        StoreError: if there is no demonstration with frames, or episodes of several tasks.
        RoboError: if a view is missing or of another size.
    """
    config = config or FitConfig()
    began, cpu_began = time.perf_counter(), time.process_time()
    rng = np.random.default_rng(config.seed)
    bank = FrameBank.of(episodes, config.views, config.labels, config.augment.shift)
    size = (config.height or bank.size[0], config.width or bank.size[1])
    if size != bank.size:
        raise RoboError(
            f"stored frames are {bank.size[0]}x{bank.size[1]} pixels (height x width), the fit "
            f"asks for {size[0]}x{size[1]}; leave the size out or collect at that size"
        )
    shape = CompactGRMConfig(config.views, *size, reference_views=config.reference_views)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        grm = CompactGRM(shape).to(config.device)
    references = rng.permutation(bank.demos)[: config.references]
    grm.task, grm.instruction = bank.task, bank.instruction
    grm.reference = bank.reference_frames(references)
    losses = train(grm.train(), bank, config, rng, on_progress)
    tail = max(1, len(losses) // 10)
    grm.summary = {
        "iterations": len(losses),
        "loss_first": float(np.mean(losses[:tail])) if losses else None,
        "loss_last": float(np.mean(losses[-tail:])) if losses else None,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu_began,
        "parameters": grm.parameter_count(),
        "demonstrations": len(bank.demos),
        "failures": len(bank.failures),
        "unlabelled_failures_left_out": bank.left_out,
        "frames": len(bank.label),
        "subtasks": bank.labeller.subtasks,
        "label_horizon": bank.labeller.horizon,
        "seed": config.seed,
    }
    return grm.eval(), dict(grm.summary)
