"""One training loop for every backbone: gradients, schedule, clipping, checkpoints, resume.

What is trained and on which loss is the objective's business: hop regression of the compact
network, token cross-entropy or hop regression of a vision-language model. With several processes
(started by ``accelerate launch`` or ``torchrun``) each takes its share of every batch, and
gradients are averaged.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from robo.errors import CheckpointError, RoboError
from robo.storage import checksum, write_bytes

STATE = "training.safetensors"
"""File of an unfinished training."""


class Objective(Protocol):
    """What a training step minimises."""

    def parameters(self) -> Sequence[nn.Parameter]:
        """What is trained, in a fixed order."""
        ...

    def loss(self, step: int, rng: np.random.Generator) -> Tensor:
        """Scalar loss of one step, with a graph.

        ``rng`` is the only source of randomness; it is the same in every process, and each takes
        its own share of what it draws.
        """
        ...


@dataclass(frozen=True)
class LoopConfig:
    """How long and how fast to train."""

    iterations: int
    """Training steps."""
    learning_rate: float
    """Peak of AdamW's; warm-up over 5 %, then cosine to 0."""
    weight_decay: float = 1e-3
    """AdamW's."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    minutes: float | None = None
    """Wall-clock limit; the learning rate then falls with time."""
    checkpoint_every: int | None = None
    """Steps between two checkpoints; None writes none."""


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


def learning_rate_factor(fraction: float) -> float:
    """Linear warm-up over the first 5 %, then a half cosine to 0; ``fraction`` in [0, 1]."""
    return min(1.0, fraction / 0.05 + 0.02) * 0.5 * (1.0 + math.cos(math.pi * min(fraction, 1.0)))


def take_device() -> None:
    """Let ``cuda`` mean this process's own GPU, where ``accelerate launch`` started several.

    Call it before anything is moved to the GPU: otherwise all processes would load their model on
    the first one, and could not exchange gradients.
    """
    import os

    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


class Processes:
    """The processes that train together; one by default."""

    def __init__(self) -> None:
        """Join the group of ``accelerate launch``, where this process is in one."""
        import os

        self.accelerator: Any = None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import Accelerator

            self.accelerator = Accelerator()
        self.rank = 0 if self.accelerator is None else int(self.accelerator.process_index)
        self.count = 1 if self.accelerator is None else int(self.accelerator.num_processes)

    def share(self, rows: np.ndarray) -> np.ndarray:
        """This process's part of a batch."""
        return rows[self.rank :: self.count]

    def mean_(self, tensors: Sequence[Tensor]) -> None:
        """Average tensors over the processes, in place."""
        if self.accelerator is None:
            return
        for tensor in tensors:
            tensor.copy_(self.accelerator.reduce(tensor, reduction="mean"))


def train(
    objective: Objective,
    config: LoopConfig,
    rng: np.random.Generator,
    on_progress: Callable[[FitProgress], None] | None = None,
    folder: Path | None = None,
    resume: bool = False,
    processes: Processes | None = None,
) -> list[float]:
    """Run the training steps.

    Args:
        objective: what to minimise.
        config: how.
        rng: of the steps; its state is part of a checkpoint.
        on_progress: called after each step.
        folder: where checkpoints go; needed for them and for ``resume``.
        resume: go on from the folder's checkpoint, where there is one.
        processes: those that train together; None for this one alone.

    Returns:
        Loss of each step, those before a resume included.

    Raises:
        RoboError: a loss that is not finite, a time limit with several processes.
        CheckpointError: a damaged checkpoint, or one of another training.
    """
    processes = processes or Processes()
    _check_limit(config, processes)
    parameters = list(objective.parameters())
    optimizer = torch.optim.AdamW(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    losses: list[float] = []
    if folder is not None and (folder / STATE).exists():
        if resume:
            losses = _restore(folder / STATE, parameters, optimizer, rng, config)
        elif not processes.rank:  # that of an earlier training must not be resumed later
            (folder / STATE).unlink()
    began = time.perf_counter()
    limit = None if config.minutes is None else 60.0 * config.minutes
    for iteration in range(len(losses), config.iterations):
        elapsed = time.perf_counter() - began
        fraction = iteration / config.iterations
        if limit is not None:
            if elapsed >= limit:
                break
            fraction = max(fraction, elapsed / limit)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate_factor(fraction)
        optimizer.zero_grad(set_to_none=True)
        loss = objective.loss(iteration, rng)
        loss.backward()
        processes.mean_([part.grad for part in parameters if part.grad is not None])
        nn.utils.clip_grad_norm_(parameters, config.clip)
        optimizer.step()
        value = loss.detach().clone()
        processes.mean_([value])
        losses.append(float(value))
        if not math.isfinite(losses[-1]):
            raise RoboError(
                f"GRM training diverged at step {iteration + 1} (loss {losses[-1]}); lower "
                f"learning_rate, now {config.learning_rate}"
            )
        every = config.checkpoint_every
        if folder is not None and every and (iteration + 1) % every == 0 and not processes.rank:
            _save(folder / STATE, parameters, optimizer, rng, losses, config)
        if on_progress is not None:
            seconds = time.perf_counter() - began
            on_progress(FitProgress(iteration + 1, config.iterations, losses[-1], seconds))
    return losses


def _check_limit(config: LoopConfig, processes: Processes) -> None:
    """Refuse a time limit of several processes: one would stop a step before the others."""
    if config.minutes is not None and processes.count > 1:
        raise RoboError(
            f"minutes is {config.minutes} in a training of {processes.count} processes, which must "
            "all stop at the same step; give the number of steps alone"
        )


def _save(
    path: Path,
    parameters: Sequence[Tensor],
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
    losses: list[float],
    config: LoopConfig,
) -> None:
    """One atomic file: weights, AdamW's moments, losses, generators."""
    from safetensors.torch import save

    tensors = {f"weight.{i}": part.detach().cpu() for i, part in enumerate(parameters)}
    for i, part in enumerate(parameters):
        for name, value in optimizer.state.get(part, {}).items():
            tensors[f"{name}.{i}"] = value.detach().cpu()
    tensors["torch_generator"] = torch.get_rng_state()
    tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
    described = {
        "settings": _settings(config),
        "losses": json.dumps(losses),
        "generator": json.dumps(rng.bit_generator.state),
        "sha256": checksum({k: v.view(torch.uint8) if v.ndim else v for k, v in tensors.items()}),
    }
    write_bytes(path, save(tensors, described))


def _settings(config: LoopConfig) -> str:
    """What must be the same when a training goes on."""
    return json.dumps([config.iterations, config.learning_rate, config.weight_decay, config.clip])


def _restore(
    path: Path,
    parameters: Sequence[Tensor],
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
    config: LoopConfig,
) -> list[float]:
    """Fill in what :func:`_save` wrote; the losses so far."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            described = file.metadata() or {}
        bytes_of = {k: v.view(torch.uint8) if v.ndim else v for k, v in tensors.items()}
        if described["sha256"] != checksum(bytes_of):
            raise ValueError("its checksum is wrong")
        if described["settings"] != _settings(config):
            raise ValueError(f"its settings are {described['settings']}, not {_settings(config)}")
        shapes = [tuple(tensors[f"weight.{i}"].shape) for i in range(len(parameters))]
        if shapes != [tuple(part.shape) for part in parameters] or (
            f"weight.{len(parameters)}" in tensors
        ):
            raise ValueError("it is of another model")
        with torch.no_grad():
            for i, part in enumerate(parameters):
                part.copy_(tensors[f"weight.{i}"])
                optimizer.state[part] = {
                    name: tensors[f"{name}.{i}"].to(part.device if name != "step" else "cpu")
                    for name in ("step", "exp_avg", "exp_avg_sq")
                    if f"{name}.{i}" in tensors
                }
        torch.set_rng_state(tensors["torch_generator"])
        rng.bit_generator.state = json.loads(described["generator"])
        return [float(loss) for loss in json.loads(described["losses"])]
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        sentence = str(error).splitlines()[0]
        raise CheckpointError(
            f"the training checkpoint {path} cannot be read ({sentence}); delete it to start anew"
        ) from error
