"""Fit a compact GRM on stored demonstrations, and on failures that carry a progress ceiling."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

# The first optimiser of a process imports torch._dynamo, and on some machines that import crashes
# (silently, signal 11) once an EGL context of llvmpipe exists. Importing it with this module puts
# it before any rendering of a command that fits and renders in one process.
import torch._dynamo
from torch import nn

from robo.errors import RoboError, StoreError
from robo.perception.augment import jitter, random_shift
from robo.perception.views import blank_views
from robo.rewards.grm.bank import FrameBank
from robo.rewards.grm.compact import CompactGRM, CompactGRMConfig
from robo.rewards.grm.fit_config import FitConfig
from robo.rewards.grm.pairs import FrameTable, Pairs, sample_pairs
from robo.rewards.grm.training import FitProgress, LoopConfig, Processes, train
from robo.rollout import Episode


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


class CompactObjective:
    """Hop regression on the pairs of one training step (implements ``Objective``)."""

    def __init__(
        self,
        grm: CompactGRM,
        banks: Sequence[FrameBank],
        config: FitConfig,
        processes: Processes | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        """Train ``grm`` on the frames of one task or several.

        Args:
            grm: the network.
            banks: of a task each.
            config: options.
            processes: those that train together.
            weights: chance of each task in a step of several; None for equal ones.
        """
        self.grm, self.banks, self.config = grm, list(banks), config
        self.processes = processes or Processes()
        chance = np.ones(len(self.banks)) if weights is None else np.asarray(weights, np.float64)
        self.chance = chance / chance.sum()

    def parameters(self) -> list[nn.Parameter]:
        """All weights."""
        return list(self.grm.parameters())

    def loss(self, step: int, rng: np.random.Generator) -> torch.Tensor:
        """Mean over the tasks of this step; pairs of different tasks are never mixed."""
        if len(self.banks) == 1:
            return self._task_loss(self.banks[0], self.config, rng)
        count = min(self.config.tasks_per_step, len(self.banks))
        share = replace(
            self.config,
            episodes_per_step=max(2, round(self.config.episodes_per_step / count)),
            pairs=replace(self.config.pairs, pairs=max(1, self.config.pairs.pairs // count)),
        )
        chosen = rng.choice(len(self.banks), count, replace=False, p=self.chance)
        return torch.stack(
            [self._task_loss(self.banks[i], share, rng) for i in chosen.tolist()]
        ).mean()

    def _task_loss(
        self, bank: FrameBank, config: FitConfig, rng: np.random.Generator
    ) -> torch.Tensor:
        rows, table = training_rows(bank, config, rng)
        pairs = sample_pairs(table, config.pairs, rng)
        if self.processes.count > 1:
            kept = self.processes.share(np.arange(len(pairs.hop)))
            pairs = Pairs(*(getattr(pairs, name)[kept] for name in pairs.__dataclass_fields__))
        return step_loss(self.grm, bank, rows, table, pairs, config, rng)


def fit_grm(
    episodes: Iterable[Episode],
    config: FitConfig | None = None,
    on_progress: Callable[[FitProgress], None] | None = None,
    base: CompactGRM | None = None,
    also: Sequence[Iterable[Episode]] = (),
    folder: Path | None = None,
    resume: bool = False,
    weights: Sequence[float] | None = None,
) -> tuple[CompactGRM, dict[str, object]]:
    """Fit a compact GRM.

    Args:
        episodes: a :class:`robo.data.EpisodeStore` or any iterable of episodes of one task:
            successes are demonstrations; failures need ``metadata["progress_ceiling"]``, others
            are left out (and counted).
        config: options.
        on_progress: called after every training step.
        base: a fitted model whose weights are the start; the model itself is left as it is.
        also: episodes of further tasks, one iterable each: the model then serves all of them,
            see :meth:`CompactGRM.for_task`.
        folder: where checkpoints of the training go.
        resume: go on from the folder's checkpoint, where there is one.
        weights: chance of each task in a step, ``episodes`` first; None for equal ones.

    Returns:
        The model in evaluation mode, with its references, and the training summary (also
        ``grm.summary``).

    Raises:
        StoreError: if there is no demonstration with frames, or episodes of several tasks in one
            iterable, or one task in several.
        RoboError: if a view is missing or of another size, or ``base`` reads other views.
    """
    config = config or FitConfig()
    began, cpu_began = time.perf_counter(), time.process_time()
    rng = np.random.default_rng(config.seed)
    banks = [
        FrameBank.of(part, config.views, config.labels, config.augment.shift)
        for part in (episodes, *also)
    ]
    tasks = [bank.task for bank in banks]
    if len(set(tasks)) < len(tasks):
        raise StoreError(f"the stores hold tasks {tasks}; give each task once, in one store")
    bank = banks[0]
    grm = _network(banks, config, base)
    for part in banks:
        references = rng.permutation(part.demos)[: config.references]
        grm.set_task(part.task, part.instruction, part.reference_frames(references))
    grm.use_task(bank.task)
    processes = Processes()
    objective = CompactObjective(grm.train(), banks, config, processes, weights)
    loop = LoopConfig(
        config.iterations,
        config.learning_rate,
        config.weight_decay,
        minutes=config.minutes,
        checkpoint_every=config.checkpoint_every,
    )
    losses = train(objective, loop, rng, on_progress, folder, resume, processes)
    tail = max(1, len(losses) // 10)
    grm.summary = {
        "iterations": len(losses),
        "loss_first": float(np.mean(losses[:tail])) if losses else None,
        "loss_last": float(np.mean(losses[-tail:])) if losses else None,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu_began,
        "parameters": grm.parameter_count(),
        "demonstrations": sum(len(part.demos) for part in banks),
        "failures": sum(len(part.failures) for part in banks),
        "unlabelled_failures_left_out": sum(part.left_out for part in banks),
        "frames": sum(len(part.label) for part in banks),
        "subtasks": bank.labeller.subtasks,
        "label_horizon": bank.labeller.horizon,
        "tasks": tasks,
        "seed": config.seed,
    }
    return grm.eval(), dict(grm.summary)


def _network(banks: Sequence[FrameBank], config: FitConfig, base: CompactGRM | None) -> CompactGRM:
    """A fresh network, or a copy of ``base``, for frames of the banks' size.

    Raises:
        RoboError: sizes that differ from each other, from the fit's, or from those of ``base``.
    """
    size = (config.height or banks[0].size[0], config.width or banks[0].size[1])
    for bank in banks:
        if size != bank.size:
            raise RoboError(
                f"stored frames are {bank.size[0]}x{bank.size[1]} pixels (height x width), the fit "
                f"asks for {size[0]}x{size[1]}; leave the size out or collect at that size"
            )
    if base is None:
        shape = CompactGRMConfig(config.views, *size, reference_views=config.reference_views)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            return CompactGRM(shape).to(config.device)
    if base.config.views != config.views or base.size != size:
        raise RoboError(
            f"the GRM to start from reads views {list(base.config.views)} of {base.size[0]}x"
            f"{base.size[1]} pixels, the store has {list(config.views)} of {size[0]}x{size[1]}; "
            "collect the same views at the same size"
        )
    return copy.deepcopy(base).to(config.device)
