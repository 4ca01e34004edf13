"""The training loop of several processes, as far as one process can tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robo.errors import RoboError
from robo.rewards.grm.training import LoopConfig, Processes, take_device, train


@pytest.mark.parametrize(
    ("world", "gpus", "taken"), [("2", True, [1]), ("2", False, []), ("1", True, [])]
)
def test_each_process_takes_a_gpu_of_its_own(world, gpus, taken, monkeypatch):
    found = []
    monkeypatch.setenv("WORLD_SIZE", world)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", found.append)
    take_device()
    assert found == taken


def test_processes_that_must_stop_together_have_no_time_limit():
    processes = Processes()
    processes.count = 2
    weight = torch.nn.Parameter(torch.ones(1))

    class Square:
        def parameters(self):
            return [weight]

        def loss(self, step, rng):
            return weight.square().sum()

    rng = np.random.default_rng(0)
    with pytest.raises(RoboError, match="2 processes"):
        train(Square(), LoopConfig(3, 0.1, minutes=1.0), rng, processes=processes)
    assert len(train(Square(), LoopConfig(3, 0.1), rng, processes=processes)) == 3


def test_batches_are_shared_without_remainder():
    parts = []
    for rank in range(3):
        processes = Processes()
        processes.rank, processes.count = rank, 3
        parts.append(processes.share(np.arange(8)))
    assert sorted(np.concatenate(parts).tolist()) == list(range(8))
