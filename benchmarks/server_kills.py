"""Training that goes on while its CARLA servers are killed: the right samples, nothing left over.

The ``carl_smoke`` preset trains on stand-in servers in this process, while a thread ends one of
them with SIGKILL every ``--every`` seconds. Afterwards the number of samples, the policy, the
logged figures, the processes and the ports are looked at.

    python benchmarks/server_kills.py --out benchmarks/results/server_kills.json
"""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
from _study import machine, one_thread, publish

SERVER = "robo.sim.carla.standin"


@dataclass(frozen=True)
class Options:
    """Kill servers during training."""

    kills: int = 10
    """Servers to kill."""
    every: float = 60.0
    """Seconds between two."""
    steps: int = 200_000
    """Environment steps of the run; it must outlast the kills."""
    seed: int = 0
    """Of the training run, and of who is killed."""
    work: Path = Path("runs/benchmarks/server_kills")
    """Run folder, emptied first."""
    out: Path | None = None
    """JSON file to write."""


@dataclass
class Killer:
    """Ends one of this process's servers now and then."""

    options: Options
    over: threading.Event = field(default_factory=threading.Event)
    killed: list[int] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    """Every server that ever ran."""
    ports: set[int] = field(default_factory=set)
    """Every port that they were given."""

    def run(self) -> None:
        """Until the kills are used up or the run is over."""
        draw = random.Random(self.options.seed)
        while not self.over.wait(self.options.every / 20):
            servers = dict(own_servers())
            self.seen |= set(servers)
            self.ports |= set(servers.values())
            due = self.options.every * (len(self.killed) + 1)
            late = time.monotonic() - self.began >= due
            if late and servers and len(self.killed) < self.options.kills:
                victim = draw.choice(sorted(servers))
                os.kill(victim, signal.SIGKILL)
                self.killed.append(victim)
                print(f"killed {len(self.killed)}: server {victim}", flush=True)

    def start(self) -> None:
        """Begin in a thread of its own."""
        self.began = time.monotonic()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Kill no more."""
        self.over.set()
        self.thread.join()


def own_servers() -> Iterator[tuple[int, int]]:
    """Process id and port of the servers that descend from this process."""
    parents, servers = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            words = (folder / "cmdline").read_text().split("\0")
        except OSError:
            continue  # It ended meanwhile.
        pid = int(folder.name)
        parents[pid] = int(fields[1])
        if SERVER in words and fields[0] != "Z":
            servers[pid] = int(words[words.index("--port") + 1])
    for pid, port in servers.items():
        above = pid
        while above > 1 and above != os.getpid():
            above = parents.get(above, 0)
        if above == os.getpid():
            yield pid, port


def listening() -> set[int]:
    """TCP ports that someone on this machine listens on."""
    ports = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        if state == "0A":
            ports.add(int(local.rpartition(":")[2], 16))
    return ports


def main(options: Options) -> None:
    """Train, kill, look; the last line printed is one JSON object."""
    one_thread()
    import torch

    from robo.policies.launcher import train_rank
    from robo.policies.policy_files import load_policy
    from robo.policies.presets import CARL_SMOKE
    from robo.policies.run_folder import find_policy
    from robo.policies.train_config import TrainConfig
    from robo.rewards.config import RewardConfig

    shutil.rmtree(options.work, ignore_errors=True)
    train = TrainConfig(
        task=CARL_SMOKE.task,
        options=CARL_SMOKE.options,
        num_envs=CARL_SMOKE.num_envs,
        steps_per_rollout=CARL_SMOKE.steps,
        total_steps=options.steps,
        seed=options.seed,
        ppo=CARL_SMOKE.ppo,
        network=CARL_SMOKE.network,
        reward=RewardConfig(kind="route_completion"),
        evaluate_every_steps=0,
    )
    before = listening()
    killer = Killer(options)
    killer.start()
    try:
        result = train_rank(train, options.work, False, True)
    finally:
        killer.stop()
    time.sleep(3.0)
    batch = train.num_envs * train.steps_per_rollout
    expected = math.ceil(options.steps / batch) * batch
    policy = load_policy(find_policy(options.work))
    left = [pid for pid in killer.seen if Path(f"/proc/{pid}").exists()]
    found: dict[str, Any] = {
        "benchmark": "server_kills",
        "backend": "carla-standin",
        "kills": len(killer.killed),
        "seconds_between": options.every,
        "servers_seen": len(killer.seen),
        "steps": result["steps"],
        "steps_expected": expected,
        "parameters_finite": bool(torch.isfinite(policy.flat).all()),
        "figures_finite": _finite(options.work),
        "processes_left": len(left),
        "ports_left": sorted((listening() - before) & killer.ports),
        "wall_seconds": result["wall_seconds"],
        "machine": machine(),
    }
    found["met"] = (
        found["kills"] == options.kills
        and found["steps"] == expected
        and found["parameters_finite"]
        and found["figures_finite"]
        and not found["processes_left"]
        and not found["ports_left"]
    )
    publish(found, options.out)


def _finite(run: Path) -> bool:
    """Whether every figure that training logged is finite."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(run / "metrics"), size_guidance={"scalars": 0})
    log.Reload()
    return all(
        math.isfinite(point.value) for tag in log.Tags()["scalars"] for point in log.Scalars(tag)
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
