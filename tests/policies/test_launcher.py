"""The launcher: restarts from the newest checkpoint, refusals in one sentence, cut networks."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from robo.cli import main
from robo.errors import RoboError
from robo.policies.launcher import ProcessConfig
from robo.storage import read_json

ROOT = Path(__file__).parents[2]
ITERATIONS, BATCH = 60, 8 * 32
TRAIN = ["train", "--task", "gym/Pendulum-v1", "--num-envs", "8", "--steps-per-rollout", "32"]
TRAIN += ["--total-steps", str(ITERATIONS * BATCH), "--backend", "in_process", "--quiet", "--json"]
TRAIN += ["--ppo.epochs", "2", "--ppo.minibatch-size", "64", "--evaluate-every-steps", "0"]
TRAIN += ["--checkpoint-every-iterations", "5"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"nproc": 0}, "nproc is 0"),
        ({"nnodes": "two"}, "nnodes is 'two'"),
        ({"nnodes": "3:2", "rdzv_endpoint": "a:1"}, "nnodes is '3:2'"),
        ({"nnodes": "2"}, "--rdzv-endpoint HOST:PORT"),
        ({"max_restarts": -1}, "max_restarts -1"),
    ],
)
def test_what_cannot_be_started_is_refused(changes, sentence) -> None:
    with pytest.raises(RoboError, match=sentence):
        ProcessConfig(**changes)


def test_one_process_needs_no_launcher() -> None:
    assert not ProcessConfig().several
    assert ProcessConfig(nproc=2).several
    assert ProcessConfig(nnodes="1:2", rdzv_endpoint="a:1").nodes == (1, 2)


def test_ranks_agree_on_whether_to_go_on(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    ranks = [
        subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "launcher_child.py"), str(tmp_path)],
            env={
                **os.environ,
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "WORLD_SIZE": "2",
                "RANK": str(rank),
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(ROOT),
            },
        )
        for rank in range(2)
    ]
    assert [rank.wait(timeout=200) for rank in ranks] == [0, 0]
    first, second = (read_json(tmp_path / f"rank-{rank}.json") for rank in range(2))
    assert first == second
    assert first == {
        "one counts a restart": True,
        "none counts a restart": "refused",
        "asked for": True,
        "new folder": False,
        "new run in a used folder": "refused",
        "started again after a refusal": "refused",
        "first round": False,
        "again, without a checkpoint": False,
        "a machine was replaced": True,
        "and again": True,
        "asked for, first round": True,
        "asked for, later round": True,
    }


def children(process: int) -> list[int]:
    """Processes that the launcher has spawned to train."""
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [pid for pid in map(int, found) if b"spawn_main" in command_of(pid)]


def command_of(process: int) -> bytes:
    """Command line of a process; empty where it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")
def test_a_killed_rank_is_restarted_and_the_run_ends_right(tmp_path: Path) -> None:
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "robo.cli", *TRAIN, "--out", str(out), "--nproc", "2"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 240
    while not list(out.glob("checkpoints/checkpoint-*.pt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    result = json.loads(output.splitlines()[-1])
    assert result["steps"] == ITERATIONS * BATCH and result["iterations"] == ITERATIONS
    assert result["processes"] == 2 and result["exact_resume"]
    assert read_json(out / "result.json") == result
    # To the bit: one process against two differs by rounding, which 480 updates let grow
    # (test_distributed compares those over 10).
    assert main([*TRAIN, "--out", str(tmp_path / "unkilled"), "--nproc", "2"]) == 0
    unkilled, killed = (
        load_file(folder / "policy" / "policy.safetensors")
        for folder in (tmp_path / "unkilled", out)
    )
    assert unkilled.keys() == killed.keys()
    for name, value in unkilled.items():
        np.testing.assert_array_equal(killed[name], value, err_msg=name)


@pytest.mark.slow
def test_a_refusal_of_ranks_is_one_sentence_without_restarts(tmp_path: Path, capfd) -> None:
    arguments = [*TRAIN, "--out", str(tmp_path), "--nproc", "2", "--reward.kind", "grm"]
    assert main(arguments) == 2
    assert "no GRM folder is given" in capfd.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_ranks_refuse_a_new_run_in_a_used_folder(tmp_path: Path, capfd) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "checkpoint-00000001.pt").touch()
    assert main([*TRAIN, "--out", str(tmp_path), "--nproc", "2"]) == 2
    assert "already holds checkpoints of a run" in capfd.readouterr().err.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_machine_that_is_cut_off_loses_nothing_but_time(tmp_path: Path) -> None:
    path = ROOT / "benchmarks" / "network_cut.py"
    spec = importlib.util.spec_from_file_location("network_cut", path)
    assert spec is not None and spec.loader is not None
    network_cut = sys.modules["network_cut"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(network_cut)
    reason = network_cut.missing()
    if reason is not None:
        pytest.skip(reason)
    result = network_cut.compare(2.0, 150, tmp_path)
    assert result["cut"]["cut_in_the_middle"]
    assert result["cut"]["steps"] == result["whole"]["steps"]
    assert result["largest_difference"] == 0.0
