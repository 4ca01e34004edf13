"""Servers that die or stall leave nothing behind, neither here nor in their world."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip("carla")

import robo
from robo.errors import RoboError
from robo.sim.carla.standin.process import start_process
from tests.sim.carla.isolated import run_isolated

SMALL: dict[str, Any] = {
    "vehicles": 4,
    "pedestrians": 2,
    "birdseye_size": 32,
    "pixels_per_metre": 0.25,
    "tick_timeout": 2.0,
}
AHEAD = np.array([0.0, 0.3])


def held() -> tuple[int, int]:
    """Threads and sockets of this process."""
    sockets = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            sockets += "socket" in os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue
    return len(os.listdir("/proc/self/task")), sockets


def step_until_lost(environment: Any) -> dict[str, Any]:
    for _ in range(20):
        *_, truncated, info = environment.step(AHEAD)
        if truncated:
            return info
    raise AssertionError("the loss was not seen")


def test_no_client_of_a_lost_server_lives_on():
    environment: Any = robo.make("carla-standin/Grid", **SMALL)
    counts = []
    try:
        for episode in range(4):
            environment.reset(seed=episode)
            environment.step(AHEAD)
            counts.append(held())
            os.kill(environment._supervisor._server.process_id, signal.SIGKILL)
            assert step_until_lost(environment)["server_lost"]
    finally:
        environment.close()
    threads, sockets = zip(*counts, strict=True)
    assert max(threads) == min(threads) and max(sockets) == min(sockets), counts


def test_a_server_of_others_that_stalls_keeps_no_ghosts():
    with start_process("Grid", seed=1) as server:
        environment: Any = robo.make(
            "carla-standin/Grid", host="127.0.0.1", port=server.port, **SMALL
        )
        found = []
        for episode in range(3):
            environment.reset(seed=0)
            actors = environment._session.connection.world.get_actors()
            kinds = [actor.type_id.split(".")[0] for actor in actors]
            found.append([kinds.count(kind) for kind in ("vehicle", "walker", "sensor")])
            if episode < 2:
                os.kill(server.pid, signal.SIGSTOP)
                assert step_until_lost(environment)["server_lost"]
                os.kill(server.pid, signal.SIGCONT)
        environment.close()
    assert found[0] == found[1] == found[2]
    assert found[0][0] == SMALL["vehicles"] + 1 and found[0][2] == 1


def test_a_server_that_dies_while_the_car_is_spawned_is_replaced(monkeypatch):
    from robo.sim.carla import session

    environment: Any = robo.make("carla-standin/Grid", **SMALL)
    original, killed = session.Population.__init__, []

    def dying(self: Any, *arguments: Any, **options: Any) -> None:
        if not killed:
            killed.append(environment._supervisor._server.process_id)
            os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.2)
        original(self, *arguments, **options)

    monkeypatch.setattr(session.Population, "__init__", dying)
    try:
        environment.reset(seed=0)
        assert killed and environment.server_restarts == 1
        assert not environment.step(AHEAD)[4].get("server_lost")
    finally:
        environment.close()


def test_traffic_managers_get_processes_of_their_own():
    options = {**SMALL, "traffic_manager": True}
    for backend, more in (("in_process", {}), ("threads", {}), ("workers", {"num_workers": 1})):
        with pytest.raises(RoboError, match="num_workers=3"):
            robo.make_vec("carla-standin/Grid", 3, backend=backend, **options, **more)


# A TrafficManager that is asking its server at the moment of its death ends its process; after a
# second without a step it asks nothing.
MANAGED = f"""
import os, sys, time
import numpy as np
import robo
from robo.errors import ProcessSpentError
options = {{**{SMALL!r}, "traffic_manager": True}}
ahead = np.array([0.0, 0.3])
def planned():
    env = robo.make("carla-standin/Grid", episodes_per_server=1, **options)
    for episode in range(3):
        env.reset(seed=episode)
        for _ in range(3):
            env.step(ahead)
    print("restarts", env.server_restarts)
    env.close()
def alone():
    env = robo.make("carla-standin/Grid", **options)
    env.reset(seed=0)
    time.sleep(1.0)
    os.kill(env._supervisor._server.process_id, 9)
    time.sleep(0.2)
    print("truncated", env.step(ahead)[3])
    try:
        env.reset()
    except ProcessSpentError as error:
        print("sentence", "backend='workers'" in str(error))
    env.close()
def together():
    import subprocess, warnings
    env = robo.make_vec("carla-standin/Grid", 2, **options)
    env.reset(seed=0)
    asked = ["pgrep", "-f", "[-]m robo.sim.carla.standin"]
    found = subprocess.run(asked, capture_output=True, text=True)
    lost = np.zeros(2, int)
    for step in range(30):
        if step == 5:
            time.sleep(1.0)
            os.kill(int(found.stdout.split()[0]), 9)
        infos = env.step(np.tile(np.float32(ahead), (2, 1)))[4]
        lost += infos.get("final_info", {{}}).get("_worker_lost", np.zeros(2, bool))
    print("workers", len(env._workers), "lost", sorted(lost.tolist()))
    env.close()
{{which}}()
print("ended")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("planned", ["restarts 2"]),
        ("alone", ["truncated True", "sentence True"]),
        ("together", ["workers 2 lost [0, 1]"]),
    ],
)
def test_with_a_traffic_manager_the_process_lives_or_retires(which: str, said: list[str]):
    printed = run_isolated(MANAGED.replace("{which}", which), 180.0, alone=True)
    assert printed == [*said, "ended"]


def test_two_environments_never_drive_in_one_server():
    with start_process("Grid", seed=1) as server:
        options = {**SMALL, "host": "127.0.0.1", "port": server.port}
        first: Any = robo.make("carla-standin/Grid", **options)
        first.reset(seed=0)
        second: Any = robo.make("carla-standin/Grid", **options)
        with pytest.raises(RoboError, match="driven by another environment"):
            second.reset(seed=0)
        first.close()
        second.reset(seed=0)
        second.close()


def test_a_vector_beside_another_takes_the_servers_behind_it():
    from robo.sim.carla.claims import ServerClaim

    first = [ServerClaim("host-of-this-test", 2000 + 10 * index, 20) for index in range(2)]
    beside = [ServerClaim("host-of-this-test", 2000 + 10 * index, 20) for index in range(2)]
    assert [claim.port for claim in (*first, *beside)] == [2000, 2010, 2020, 2030]
    first[1].release()
    assert ServerClaim("host-of-this-test", 2010, 20).port == 2010
    with pytest.raises(RoboError, match="another environment"):
        ServerClaim("host-of-this-test", 2000)
    for claim in (*first, *beside):
        claim.release()
        claim.release()
