"""Two machines train together, and one of them loses its network for a while.

    python benchmarks/network_cut.py --seconds 30

Two network namespaces stand for two machines, a veth pair for the cable between them. Each runs
`robo train --nnodes 2`; the cable is pulled in the middle of the run and plugged in again. The run
must end by itself, without a restart, with the parameters of a run whose cable stayed in. Needs
root and `ip`; all traffic stays inside the namespaces.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from safetensors.numpy import load_file

from robo.errors import RoboError
from robo.storage import read_json, write_json

RESULT = Path(__file__).parent / "results" / "network_cut.json"
PORT = 29_477
SETTINGS = Path("/etc/netns")


@dataclass(frozen=True)
class Config:
    """One experiment."""

    seconds: float = 30.0
    """How long the cable is out."""
    iterations: int = 300
    """Updates of the run: it must last longer than the cable stays in at first."""
    out: Path = RESULT
    """JSON of the result."""


def missing() -> str | None:
    """Why this cannot run here; None where it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    if shutil.which("ip") is None:
        return "the command ip (iproute2) is not installed"
    name = f"robo-probe-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode != 0:
        return "this kernel or container does not allow network namespaces"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return None


class Cable:
    """Two namespaces joined by a veth pair."""

    def __init__(self) -> None:
        """Names carry the process id, so that two experiments do not meet."""
        self.hosts = tuple(f"robo-{side}-{os.getpid()}" for side in "ab")
        self.devices = ("cable-a", "cable-b")
        self.addresses = ("10.77.0.1", "10.77.0.2")

    def make(self) -> None:
        """Create both namespaces with their ends of the cable."""
        names = "127.0.0.1 localhost\n"
        names += "".join(f"{a} {h}\n" for a, h in zip(self.addresses, self.hosts, strict=True))
        for host in self.hosts:
            ip("netns", "add", host)
            ip("-n", host, "link", "set", "lo", "up")
            # `ip netns exec` lays these over /etc: looking up a name then fails at once where
            # it would wait for a name server that cannot be reached.
            folder = SETTINGS / host
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "hosts").write_text(names)
            (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        first, second = self.hosts
        ends = ("type", "veth", "peer", "name", self.devices[1], "netns", second)
        ip("-n", first, "link", "add", self.devices[0], *ends)
        for host, device, address in zip(self.hosts, self.devices, self.addresses, strict=True):
            ip("-n", host, "address", "add", f"{address}/24", "dev", device)
            ip("-n", host, "link", "set", device, "up")

    def plug(self, state: str) -> None:
        """``down`` pulls the second machine's end out, ``up`` plugs it in."""
        ip("-n", self.hosts[1], "link", "set", self.devices[1], state)

    def remove(self) -> None:
        """Delete the namespaces, and the cable with them."""
        for host in self.hosts:
            subprocess.run(["ip", "netns", "del", host], capture_output=True)
            shutil.rmtree(SETTINGS / host, ignore_errors=True)
        with suppress(OSError):  # others' settings lie in it
            SETTINGS.rmdir()


def ip(*arguments: str) -> None:
    """Run ``ip``."""
    subprocess.run(["ip", *arguments], check=True)


@contextmanager
def cable() -> Iterator[Cable]:
    """A cable that is removed at the end."""
    made = Cable()
    try:
        made.make()
        yield made
    finally:
        made.remove()


def start(wire: Cable, host: int, out: Path, iterations: int) -> subprocess.Popen:
    """`robo train` on one of the two machines."""
    envs, steps = 8, 32
    run = ["train", "--task", "gym/Pendulum-v1", "--out", str(out), "--quiet", "--json"]
    run += ["--num-envs", str(envs), "--steps-per-rollout", str(steps)]
    run += ["--total-steps", str(envs * steps * iterations), "--backend", "in_process"]
    run += ["--ppo.epochs", "2", "--ppo.minibatch-size", "64", "--evaluate-every-steps", "0"]
    run += ["--nnodes", "2", "--rdzv-endpoint", f"{wire.addresses[0]}:{PORT}"]
    run += ["--local-addr", wire.addresses[host], "--max-restarts", "0"]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": wire.devices[host], "OMP_NUM_THREADS": "1"}
    command = ["ip", "netns", "exec", wire.hosts[host], sys.executable, "-m", "robo.cli", *run]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def train(out: Path, iterations: int, cut: float) -> dict[str, Any]:
    """One run on two machines, with the cable out for ``cut`` seconds in its middle.

    Raises:
        RoboError: where the run did not end by itself.
    """
    with cable() as wire:
        begun = time.monotonic()
        processes = [start(wire, host, out / f"host-{host}", iterations) for host in (0, 1)]
        try:
            if cut > 0:
                _wait_for_checkpoint(out / "host-0", processes[0])
                wire.plug("down")
                time.sleep(cut)
                written = _checkpoints(out / "host-0")
                wire.plug("up")
            codes = [process.wait(timeout=cut * 4 + 240) for process in processes]
        finally:
            for process in processes:
                process.kill()
        seconds = time.monotonic() - begun
    if codes != [0, 0]:
        raise RoboError(f"the two machines ended with exit codes {codes}")
    result = read_json(out / "host-0" / "result.json")
    cut_in_run = cut == 0 or written[-1] != _checkpoints(out / "host-0")[-1]
    return {
        "seconds": seconds,
        "training_seconds": result["wall_seconds"],
        "steps": result["steps"],
        "cut_in_the_middle": cut_in_run,
        "policy": load_file(out / "host-0" / "policy" / "policy.safetensors"),
    }


def _checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").glob("checkpoint-*.pt"))


def _wait_for_checkpoint(folder: Path, process: subprocess.Popen) -> None:
    while not _checkpoints(folder):
        if process.poll() is not None:
            raise RoboError("the run ended before its first checkpoint")
        time.sleep(0.02)


def compare(seconds: float, iterations: int, folder: Path) -> dict[str, Any]:
    """The run with a cut cable against the run without."""
    whole = train(folder / "whole", iterations, 0.0)
    cut = train(folder / "cut", iterations, seconds)
    whole_policy, cut_policy = whole.pop("policy"), cut.pop("policy")
    worst = max(float(np.abs(whole_policy[name] - cut_policy[name]).max()) for name in cut_policy)
    return {"cut_seconds": seconds, "whole": whole, "cut": cut, "largest_difference": worst}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print, write."""
    config = tyro.cli(Config, args=arguments)
    reason = missing()
    if reason is not None:
        raise SystemExit(f"network_cut: {reason}")
    with tempfile.TemporaryDirectory(prefix="robo-cut-") as folder:
        result = compare(config.seconds, config.iterations, Path(folder))
    print(result)
    write_json(config.out, result)


if __name__ == "__main__":
    main()
