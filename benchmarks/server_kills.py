"""Training that goes on while its CARLA servers are killed: the right samples, nothing left over.

The ``carl_smoke`` preset trains on stand-in servers in this process, while a thread ends one of
them with SIGKILL every ``--every`` seconds and measures how long its environment is without a
server that answers. Afterwards the number of samples, the policy, the logged figures, the processes
and the ports are looked at.

    python benchmarks/server_kills.py
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
TRACKER = "from multiprocessing.resource_tracker import"
"""Python's own helper process, which ends with the one that started it."""
GOES_ON = 20.0
"""Seconds within which an environment must have a new server."""
LOOK = 0.5
"""Seconds between two looks at the processes."""
RESULT = Path(__file__).parent / "results" / "server_kills.json"


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
    out: Path | None = RESULT
    """JSON of the result; None writes none."""


@dataclass(frozen=True)
class Server:
    """One running server."""

    pid: int
    """Process id."""
    parent: int
    """The worker process that its environment lives in."""
    port: int
    """RPC port, the first of its block."""


@dataclass(frozen=True)
class Outage:
    """An environment whose server was killed."""

    victim: Server
    """The server that it lost."""
    began: float
    """Monotonic seconds."""
    before: frozenset[int]
    """Servers that had run until then."""

    def ended_by(self, server: Server) -> bool:
        """Whether this is the next server of the environment.

        Environments of one worker share it as parent, but a new server starts there only where
        one was lost: none of these runs drives its server's budget of episodes to the end.
        """
        return server.parent == self.victim.parent and server.pid not in self.before


@dataclass
class Killer:
    """Ends one of this process's servers now and then."""

    options: Options
    over: threading.Event = field(default_factory=threading.Event)
    killed: list[int] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    """Every server that ever ran."""
    ports: set[int] = field(default_factory=set)
    """Every port of the blocks that they were given."""
    waiting: list[Outage] = field(default_factory=list)
    """Environments without a server."""
    outages: list[float] = field(default_factory=list)
    """Seconds from a kill until that environment's next server answered."""

    def run(self) -> None:
        """Until the run is over."""
        draw = random.Random(self.options.seed)
        while not self.over.wait(min(LOOK, self.options.every / 20)):
            servers = {server.pid: server for server in own_servers()}
            self.look(servers)
            due = self.options.every * (len(self.killed) + 1)
            late = time.monotonic() - self.began >= due
            if late and servers and len(self.killed) < self.options.kills:
                victim = servers[draw.choice(sorted(servers))]
                os.kill(victim.pid, signal.SIGKILL)
                self.killed.append(victim.pid)
                self.waiting.append(Outage(victim, time.monotonic(), frozenset(self.seen)))
                print(f"killed {len(self.killed)}: server {victim.pid}", flush=True)

    def look(self, servers: dict[int, Server]) -> None:
        """Note the servers that run now, and which environments have one again."""
        from robo.sim.carla.supervisor import BLOCK, accepts

        self.seen |= set(servers)
        for server in servers.values():
            self.ports |= set(range(server.port, server.port + BLOCK))
        for outage in list(self.waiting):
            if any(
                outage.ended_by(server) and accepts("127.0.0.1", server.port)
                for server in servers.values()
            ):
                self.waiting.remove(outage)
                self.outages.append(time.monotonic() - outage.began)

    def start(self) -> None:
        """Begin in a thread of its own."""
        self.began = time.monotonic()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Kill no more."""
        self.over.set()
        self.thread.join()


def descendants() -> dict[int, tuple[int, list[str]]]:
    """Parent and command of every process below this one that has not ended, by process id."""
    parents: dict[int, int] = {}
    found: dict[int, tuple[int, list[str]]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            words = (folder / "cmdline").read_text().split("\0")
        except OSError:
            continue  # It ended meanwhile.
        pid = int(folder.name)
        parents[pid] = int(fields[1])
        if fields[0] != "Z":
            found[pid] = parents[pid], words

    def below(pid: int) -> bool:
        above = parents[pid]
        while above > 1 and above != os.getpid():
            above = parents.get(above, 0)
        return above == os.getpid()

    return {pid: process for pid, process in found.items() if below(pid)}


def own_servers() -> Iterator[Server]:
    """The servers that descend from this process."""
    for pid, (parent, words) in descendants().items():
        if SERVER in words:
            yield Server(pid, parent, int(words[words.index("--port") + 1]))


def left_over(seen: set[int]) -> set[int]:
    """Servers of ``seen`` that are still there, and whatever else runs below this process."""
    workers = {
        pid
        for pid, (_, words) in descendants().items()
        if not any(word.startswith(TRACKER) for word in words)
    }
    return workers | {pid for pid in seen if Path(f"/proc/{pid}").exists()}


def listening() -> set[int]:
    """TCP ports that someone on this machine listens on."""
    ports = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net", table)
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
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
    left = left_over(killer.seen)
    found: dict[str, Any] = {
        "benchmark": "server_kills",
        "backend": "carla-standin",
        "kills": len(killer.killed),
        "seconds_between": options.every,
        "servers_seen": len(killer.seen),
        "seconds_without_server": [round(seconds, 1) for seconds in killer.outages],
        "steps": result["steps"],
        "steps_expected": expected,
        "parameters_finite": bool(torch.isfinite(policy.flat).all()),
        "figures_finite": _finite(options.work),
        "processes_left": len(left),
        "ports_left": sorted((listening() - before) & killer.ports),
        "wall_seconds": result["wall_seconds"],
        "machine": machine(),
    }
    found["met"] = met(found, options.kills)
    publish(found, options.out)


def met(found: dict[str, Any], kills: int) -> bool:
    """Whether the run is all that is wanted of it."""
    outages = found["seconds_without_server"]
    return (
        found["kills"] == kills
        # An environment that got no server is missing here.
        and len(outages) == kills
        and max(outages, default=0.0) <= GOES_ON
        and found["steps"] == found["steps_expected"]
        and found["parameters_finite"]
        and found["figures_finite"]
        and not found["processes_left"]
        and not found["ports_left"]
    )


def _finite(run: Path) -> bool:
    """Whether training logged figures, and every one is finite."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(run / "metrics"), size_guidance={"scalars": 0})
    log.Reload()
    values = [point.value for tag in log.Tags()["scalars"] for point in log.Scalars(tag)]
    return bool(values) and all(map(math.isfinite, values))


if __name__ == "__main__":
    main(tyro.cli(Options))
