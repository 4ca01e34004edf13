"""The server as a process: ports, addresses, signals, its parent's death."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("carla", reason="the CARLA client is not installed")

from robo.commands.carla_standin import CarlaStandin
from robo.sim.carla.standin.entry import check_host
from robo.sim.carla.standin.errors import StandinError
from robo.sim.carla.standin.process import start_process
from robo.sim.carla.standin.server import StandinServer
from robo.sim.carla.supervisor import PortBlock
from tests.sim.carla.standin.raw_client import HOST, Raw, read_state, subscribe

ROOT = Path(__file__).parents[4]


def test_ports_can_be_used_again_at_once_after_a_kill() -> None:
    # Kept from other supervisors, and none that the system hands out.
    block = PortBlock()
    ports = (block.first, block.first + 1)
    first = start_process("Grid", port=block.first)
    with subscribe(first.stream_port, 1) as connection:
        read_state(connection)
        first.kill()
        with start_process("Grid", port=block.first) as second:
            assert (second.port, second.stream_port) == ports
            assert Raw(second.port).value("version") == "0.9.16"
            second.kill()
        with start_process("Grid", port=block.first) as third:
            assert (third.port, third.stream_port) == ports
    block.release()


def test_a_taken_port_is_named() -> None:
    with (
        start_process("Grid") as server,
        pytest.raises(StandinError, match=f"{server.port}.*choose another"),
    ):
        start_process("Grid", port=server.port)


def test_unknown_town_and_missing_file() -> None:
    with pytest.raises(StandinError, match="'Nowhere' is no town; expected one of"):
        StandinServer("Nowhere")
    with pytest.raises(StandinError, match="no file"):
        StandinServer("nowhere.xodr")


def test_a_public_address_needs_leave() -> None:
    with pytest.raises(StandinError, match="--allow-public"):
        CarlaStandin(map="Grid", host="0.0.0.0").run()
    with pytest.raises(StandinError, match="IPv4"):
        check_host("somewhere", True)
    assert check_host("localhost", False) == HOST
    assert check_host("0.0.0.0", True) == "0.0.0.0"


def test_in_this_process() -> None:
    server = StandinServer("Grid").start()
    try:
        assert Raw(server.port).value("get_map_info")[0] == "Carla/Maps/Grid"
    finally:
        server.stop()
    server.stop()
    with pytest.raises(OSError):
        socket.create_connection((HOST, server.port), timeout=2.0)


def test_it_ends_on_a_signal_with_code_0() -> None:
    process = start_process("Grid")
    process.stop()
    assert process.poll() == 0


def listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def test_it_ends_with_its_parent() -> None:
    script = (
        "import json, os; from robo.sim.carla.standin.process import start_process; "
        "s = start_process('Grid'); print(json.dumps([s.pid, s.port]), flush=True); os._exit(0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    pid, port = json.loads(done.stdout)
    deadline = time.monotonic() + 10.0
    while (alive := listens(port)) and time.monotonic() < deadline:
        time.sleep(0.1)
    if alive:
        os.kill(pid, 9)
    assert not alive, "the server outlived its parent"
