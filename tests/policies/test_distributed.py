"""Several ranks: the same result as one, whatever the shares; exact resume of another number."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robo.errors import RoboError
from robo.policies import distributed

CHILD = Path(__file__).parent / "distributed_child.py"
_spec = importlib.util.spec_from_file_location("distributed_child", CHILD)
assert _spec is not None and _spec.loader is not None
child = importlib.util.module_from_spec(_spec)
sys.modules["distributed_child"] = child
_spec.loader.exec_module(child)


def free_port() -> int:
    """A TCP port on the loopback device that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """What two gloo ranks came to, and their folder."""
    folder = tmp_path_factory.mktemp("two")
    shared = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, str(CHILD), str(folder)],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=Path(__file__).parents[2],
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=240) for process in processes] == [0, 0]
    return folder, [torch.load(folder / f"rank-{r}.pt", weights_only=False) for r in range(2)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same by one process."""
    return child.cases(tmp_path_factory.mktemp("one"))


@pytest.mark.parametrize(
    ("case", "tolerance"), [("float64", 1e-8), ("discrete", 1e-8), ("float32", 1e-4)]
)
def test_two_ranks_give_the_parameters_of_one(ranks, alone, case, tolerance) -> None:
    first, second = (found[case] for found in ranks[1])
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, alone[case], rtol=0, atol=tolerance)


def test_a_run_of_two_ranks_is_that_of_one(ranks, alone) -> None:
    (_, both), one = ranks, alone["run"]
    for found in both:
        run = found["run"]
        assert (run["steps"], run["iterations"], run["processes"]) == (one["steps"], 6, 2)
        np.testing.assert_allclose(run["parameters"], one["parameters"], rtol=0, atol=1e-4)
        assert run["return_recent"] == pytest.approx(one["return_recent"], abs=1e-2)
        assert run["evaluation"]["episodes"] == 3
        assert run["best"]["mean_return"] == pytest.approx(one["best"]["mean_return"], abs=0.1)


def test_a_run_of_two_ranks_goes_on_as_one(ranks, alone, tmp_path) -> None:
    result = child.train(ranks[0] / "short", child.RUN, resume=True)
    assert result["exact_resume"] and result["steps"] == child.RUN.total_steps
    one = alone["run"]["parameters"]
    np.testing.assert_allclose(result["parameters"], one, rtol=0, atol=1e-4)


def test_only_rank_0_writes_and_all_agree(ranks) -> None:
    folder, (first, second) = ranks
    np.testing.assert_array_equal(first["run"]["parameters"], second["run"]["parameters"])
    events = list((folder / "run" / "metrics").iterdir())
    assert len(events) == 1
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(folder / "run" / "metrics"))
    log.Reload()
    tags = set(log.Tags()["scalars"])
    assert {"time/collect_min", "time/collect_median", "time/collect_max"} <= tags
    assert len(log.Scalars("reward/total")) == 6


def test_collectives(ranks) -> None:
    everything = np.concatenate(child.VALUES[:2])
    for found in (rank["collectives"] for rank in ranks[1]):
        mean, std = found["moments"]
        assert mean == pytest.approx(everything.mean(), rel=1e-14)
        assert std == pytest.approx(everything.std(ddof=1), rel=1e-12)
        count, means, deviations = found["groups"]
        assert count.tolist() == [5, 2, 0] and means[2] == deviations[2] == 0
        np.testing.assert_allclose(deviations[1], everything[:2].std(ddof=1))
        assert found["sum"] == 3 and found["broadcast"] == 1 and found["objects"] == [0, 1]
        # Rank 0 has no rows, so rank 1's gradient and statistics are the mean.
        gradient, statistics, weight = found["gradient"]
        assert gradient.tolist() == [2.0] * 3 and statistics.tolist() == [10.0] and weight == 1


def test_alone_every_collective_is_the_identity() -> None:
    assert not distributed.is_distributed() and distributed.world_size() == 1
    values = np.array([1.0, 3.0])
    assert distributed.moments(values) == (2.0, pytest.approx(2**0.5))
    assert distributed.moments(np.array([4.0])) == (4.0, 0.0)
    gradient = torch.ones(2)
    assert distributed.average_gradients_(gradient, 5) == 5 and gradient.tolist() == [1, 1]
    assert distributed.gather_objects("x") == ["x"] and distributed.gather_bytes(b"x") == [b"x"]
    assert not distributed.initialise()


@given(
    steps=st.integers(1, 5), total=st.integers(1, 9), parts=st.integers(1, 9), seed=st.integers(0)
)
def test_shards_share_out_every_row_once_and_in_order(steps, total, parts, seed) -> None:
    parts = min(parts, total)
    ids = np.random.default_rng(seed).permutation(steps * total)
    shards = [distributed.shard(total, index, parts) for index in range(parts)]
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    found = []
    for shard in shards:
        position, row = shard.rows(ids)
        assert (np.diff(position) > 0).all()
        step, env = np.divmod(row, len(shard))
        np.testing.assert_array_equal(ids[position], step * total + env + shard.first)
        found += position.tolist()
    assert sorted(found) == list(range(len(ids)))


def test_more_ranks_than_environments_are_refused() -> None:
    with pytest.raises(RoboError, match="num_envs is 2, but there are 3 ranks"):
        distributed.shard(2, 0, 3)


def test_groups_and_overlap_resume_exactly(tmp_path) -> None:
    overlapped = replace(child.RUN, collection="overlapped", groups=2)
    whole = child.train(tmp_path / "whole", overlapped)
    child.train(tmp_path / "parts", replace(overlapped, total_steps=child.RUN.total_steps // 3))
    parts = child.train(tmp_path / "parts", overlapped, resume=True)
    np.testing.assert_array_equal(whole["parameters"], parts["parameters"])


def test_groups_change_nothing_but_time(tmp_path, alone) -> None:
    grouped = child.train(tmp_path, replace(child.RUN, groups=3))
    np.testing.assert_allclose(grouped["parameters"], alone["run"]["parameters"], atol=1e-5)
    assert grouped["evaluation"]["mean_return"] == pytest.approx(
        alone["run"]["evaluation"]["mean_return"], abs=0.1
    )
