"""Training over several processes: the collectives that PPO and the training loop need.

Every rank owns a contiguous slice of the global list of environments (:class:`Shard`) and a
copy of the policy. A global minibatch is made of global row ids, ``step * total + environment``;
each rank works on the rows of its own environments, and gradients are summed with the number of
rows as weights. So the result depends on the global batch and not on the number of ranks, up to
the rounding of sums. With one process every function here is the identity and costs nothing.

Tensors on a GPU go through NCCL, CPU tensors and arrays through gloo.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from robo.errors import RoboError

TIMEOUT_SECONDS = 2700.0
"""How long a rank waits for the others: longer than any evaluation, restart or cut network."""

Array = TypeVar("Array", Tensor, np.ndarray)


def is_distributed() -> bool:
    """Whether this process is one of several ranks."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def world_size() -> int:
    """Number of ranks; 1 without :func:`initialise`."""
    return dist.get_world_size() if is_distributed() else 1


def rank() -> int:
    """Which rank this is, 0 ... ``world_size() - 1``."""
    return dist.get_rank() if is_distributed() else 0


def local_rank() -> int:
    """Which rank of its machine this is: the index of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0")) if is_distributed() else 0


def device(kind: str) -> torch.device:
    """``cpu``, or for ``cuda`` this rank's GPU.

    Raises:
        RoboError: where no GPU can be used.
    """
    if kind != "cuda":
        return torch.device(kind)
    if not torch.cuda.is_available():
        raise RoboError("device is 'cuda', but torch finds no GPU here; choose --device cpu")
    return torch.device("cuda", local_rank() % torch.cuda.device_count())


def launched_by_torchrun() -> bool:
    """Whether torch's elastic launcher started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MASTER_ADDR" in os.environ


def initialise(timeout_seconds: float = TIMEOUT_SECONDS, share_cores: bool = True) -> bool:
    """Join the other ranks, as torchrun's environment variables describe them.

    Nothing happens where this process was not started by a launcher, or has joined already.

    Args:
        timeout_seconds: after which a collective that some rank does not join is an error.
        share_cores: give each rank of a machine its own part of the cores, so that its
            simulators' workers do not fight with those of the other ranks.

    Returns:
        Whether there are several ranks.

    Raises:
        RoboError: where the ranks cannot meet.
    """
    if is_distributed() or not launched_by_torchrun():
        return is_distributed()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    backend = "gloo"
    if torch.cuda.is_available() and dist.is_nccl_available():
        torch.cuda.set_device(local % torch.cuda.device_count())
        if int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= torch.cuda.device_count():
            backend = "cpu:gloo,cuda:nccl"
    if share_cores:
        take_cores(local, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds))
    except (RuntimeError, ValueError) as error:
        raise RoboError(
            f"rank {os.environ.get('RANK')} of {os.environ.get('WORLD_SIZE')} cannot meet the "
            f"others at {os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')} ({error}); "
            "check the address, the firewall, and GLOO_SOCKET_IFNAME or NCCL_SOCKET_IFNAME"
        ) from error
    return is_distributed()


def shutdown() -> None:
    """Leave the group, once all ranks are ready to; nothing happens where there is none."""
    if dist.is_available() and dist.is_initialized():
        # A rank that closes its connections under another's last collective ends that one. Where
        # one is gone already, there is nothing left to wait for.
        with contextlib.suppress(RuntimeError):
            dist.barrier()
        dist.destroy_process_group()


def take_cores(index: int, parts: int) -> None:
    """Keep this process and its children on part ``index`` of ``parts`` of its cores.

    Where there are fewer cores than parts, or the platform has no affinity, nothing happens.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    if parts > 1 and len(cores) >= parts:
        bounds = [len(cores) * part // parts for part in range(parts + 1)]
        os.sched_setaffinity(0, cores[bounds[index] : bounds[index + 1]])


# ---------------------------------------------------------------------- whose environments


@dataclass(frozen=True)
class Shard:
    """The environments ``first`` ... ``stop - 1`` of a global list of ``total``."""

    first: int
    """Global index of the first environment here."""
    stop: int
    """Global index after the last one here."""
    total: int
    """Number of environments over all ranks."""

    def __len__(self) -> int:
        """Number of environments here."""
        return self.stop - self.first

    def rows(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of the global row ids belong here.

        Args:
            ids: int ``[B]``, ``step * total + environment`` each.

        Returns:
            Positions in ``ids`` ``[K]`` in their order, and the local row of each
            (``step * len(self) + local environment``) ``[K]``.
        """
        if len(self) == self.total:
            return np.arange(len(ids)), ids
        step, env = np.divmod(ids, self.total)
        position = np.flatnonzero((env >= self.first) & (env < self.stop))
        return position, step[position] * len(self) + (env[position] - self.first)


def shard(total: int, index: int | None = None, parts: int | None = None) -> Shard:
    """The slice of ``total`` environments of rank ``index`` of ``parts`` (default: this one).

    Sizes differ by at most one.

    Raises:
        RoboError: fewer environments than ranks.
    """
    index, parts = rank() if index is None else index, parts or world_size()
    if total < parts:
        raise RoboError(
            f"num_envs is {total}, but there are {parts} ranks: every rank owns at least one "
            "environment, so raise --num-envs or lower --nproc"
        )
    return Shard(total * index // parts, total * (index + 1) // parts, total)


# ---------------------------------------------------------------------- collectives


def all_reduce_sum_(values: Array) -> Array:
    """Sum ``values`` over all ranks, in place; returned for convenience."""
    if is_distributed():
        # An array shares its memory with the tensor, so both change in place.
        dist.all_reduce(_tensor(values))
    return values


def average_gradients_(
    flat_gradient: Array, weight: float, statistics: np.ndarray | None = None
) -> float:
    """Replace a gradient by the mean over all ranks, weighted by ``weight``, in place.

    With each rank's gradient the mean over its ``weight`` rows, the result is the mean over the
    rows of all ranks, whatever their shares. One collective carries all of it.

    Args:
        flat_gradient: ``[P]``; ignored (taken as zero) where ``weight`` is 0.
        weight: number of rows behind it, at least 0.
        statistics: float64 ``[S]``, means over the same rows, averaged alike, in place.

    Returns:
        The sum of weights.
    """
    if not is_distributed():
        return float(weight)
    gradient = _tensor(flat_gradient)
    extra = 0 if statistics is None else len(statistics)
    message = torch.zeros(len(gradient) + extra + 1, dtype=gradient.dtype, device=gradient.device)
    if weight > 0:
        torch.mul(gradient, float(weight), out=message[: len(gradient)])
        if statistics is not None:
            message[len(gradient) : -1] = torch.from_numpy(statistics * weight).to(message)
        message[-1] = float(weight)
    dist.all_reduce(message)
    total = float(message[-1])
    torch.div(message[: len(gradient)], max(total, 1.0), out=gradient)
    if statistics is not None:
        statistics[:] = (message[len(gradient) : -1].double() / max(total, 1.0)).cpu().numpy()
    return total


def merged_moments(rows: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Count, mean and sum of squared deviations of rows ``[n, ...]`` of all ranks.

    By the pairwise update of Chan, Golub and LeVeque (1983), in the order of ranks, so that every
    rank comes to the same bits. ``n`` may be 0 on some ranks.

    Returns:
        The count, and two float64 arrays ``[...]``.
    """
    values = np.asarray(rows, np.float64)
    mean = values.mean(0) if len(values) else np.zeros(values.shape[1:])
    own = (float(len(values)), mean, np.square(values - mean).sum(0))
    if not is_distributed():
        return own
    message = torch.from_numpy(np.concatenate([[own[0]], own[1].ravel(), own[2].ravel()]))
    parts = [torch.empty_like(message) for _ in range(world_size())]
    dist.all_gather(parts, message)
    shape, size = mean.shape, mean.size
    count, mean, square = 0.0, np.zeros(shape), np.zeros(shape)
    for part in (tensor.numpy() for tensor in parts):
        added = float(part[0])
        if added == 0:
            continue
        difference = part[1 : 1 + size].reshape(shape) - mean
        total = count + added
        square = square + part[1 + size :].reshape(shape)
        square = square + np.square(difference) * (count * added / total)
        mean = mean + difference * (added / total)
        count = total
    return count, mean, square


def moments(values: Array) -> tuple[float, float]:
    """Mean and Bessel-corrected standard deviation of the values of all ranks.

    The deviation is 0 for fewer than two values. ``values [n]`` may be empty on some ranks.
    """
    flat = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    count, mean, square = merged_moments(np.asarray(flat).reshape(-1))
    return float(mean), float(np.sqrt(square / (count - 1))) if count > 1 else 0.0


def group_moments(groups: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """:func:`moments` of several groups by one collective: of all minibatches of an epoch.

    Args:
        groups: B arrays of this rank's values, any of them empty.

    Returns:
        Count, mean and Bessel-corrected standard deviation (0 below two values), float64 ``[B]``,
        of each group over all ranks.
    """
    own = np.zeros((3, len(groups)))
    for index, group in enumerate(groups):
        if len(group):
            part = np.asarray(group, np.float64)
            own[:, index] = len(part), part.mean(), np.square(part - part.mean()).sum()
    gathered = [own]
    if is_distributed():
        tensors = [torch.empty(own.shape, dtype=torch.float64) for _ in range(world_size())]
        dist.all_gather(tensors, torch.from_numpy(own))
        gathered = [tensor.numpy() for tensor in tensors]
    count, mean, square = np.zeros((3, len(groups)))
    for added, part_mean, part_square in gathered:
        total = count + added
        share = np.divide(added, total, out=np.zeros_like(total), where=total > 0)
        difference = part_mean - mean
        square = square + part_square + np.square(difference) * count * share
        mean = mean + difference * share
        count = total
    return count, mean, np.sqrt(square / np.maximum(count - 1.0, 1.0))


def broadcast_(values: Array, source: int = 0) -> Array:
    """Replace ``values`` by those of rank ``source``, in place; returned for convenience."""
    if is_distributed():
        dist.broadcast(_tensor(values), source)
    return values


def barrier() -> None:
    """Wait until every rank is here."""
    if is_distributed():
        all_reduce_sum_(np.zeros(1))


def gather_objects(value: Any) -> list[Any]:
    """The values of all ranks, in their order, on every rank (pickled: keep them small)."""
    if not is_distributed():
        return [value]
    found: list[Any] = [None] * world_size()
    dist.all_gather_object(found, value)
    return found


def gather_bytes(content: bytes) -> list[bytes] | None:
    """The contents of all ranks, in their order, on rank 0; None on the others."""
    if not is_distributed():
        return [content]
    found: list[Any] | None = [None] * world_size() if rank() == 0 else None
    dist.gather_object(content, found)
    return found


def broadcast_object(value: Any, source: int = 0) -> Any:
    """The value of rank ``source``, on every rank (pickled)."""
    if not is_distributed():
        return value
    holder = [value]
    dist.broadcast_object_list(holder, source)
    return holder[0]


def _tensor(values: Tensor | np.ndarray) -> Tensor:
    return torch.from_numpy(values) if isinstance(values, np.ndarray) else values.detach()
