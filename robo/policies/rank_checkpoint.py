"""Checkpoints of a run of several ranks: one file, written and read by rank 0.

What all ranks share is saved once; what belongs to a rank's environments (``collector``,
``reward``, ``reward_returns``) is gathered into ``slices``. One file is replaced atomically, where
a file per rank could leave a mixture of two iterations. Machines need no common file system.
"""

from __future__ import annotations

import io
from typing import Any

import torch

from robo.policies import distributed
from robo.policies.checkpoint import Checkpoints, pack, unpack
from robo.policies.distributed import Shard
from robo.policies.resharding import own_slice

OWN = ("collector", "reward", "reward_returns")
"""Entries of a rank's state that belong to its environments."""


def save_run(checkpoints: Checkpoints, state: dict[str, Any], shard: Shard, iteration: int) -> None:
    """Write one checkpoint from the ``state`` of every rank; ``shard`` is this rank's.

    Raises:
        RoboError: full disk; earlier checkpoints stay.
    """
    own = {"first": shard.first, "stop": shard.stop, **{name: state[name] for name in OWN}}
    slices = [own]
    if distributed.is_distributed():
        contents = distributed.gather_bytes(_bytes(own))
        if contents is None:
            return
        slices = [_state(content) for content in contents]
    shared = {name: value for name, value in state.items() if name not in OWN}
    checkpoints.save({**shared, "slices": slices}, iteration)


def load_run(checkpoints: Checkpoints, shard: Shard) -> dict[str, Any]:
    """This rank's state from the newest readable checkpoint, whatever ranks wrote it.

    Raises:
        CheckpointError: on rank 0, see :meth:`~robo.policies.checkpoint.Checkpoints.latest`.
    """
    state = checkpoints.latest() if distributed.rank() == 0 else {}
    if distributed.is_distributed():
        state = _state(distributed.broadcast_object(_bytes(state)))
    slices = state.pop("slices")
    return {**state, **own_slice(slices, shard.first, shard.stop)}


def _bytes(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(pack(state), buffer)
    return buffer.getvalue()


def _state(content: bytes) -> dict[str, Any]:
    return unpack(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
