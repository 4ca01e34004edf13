"""Servers as child processes: ports, death, and nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("carla")

from robo.errors import RoboError
from robo.sim.carla.supervisor import (
    BLOCK,
    PortBlock,
    ServerLostError,
    ServerProcess,
    Supervisor,
    accepts,
)

LISTEN = "import socket, sys, time; socket.create_server(('127.0.0.1', int(sys.argv[1]))); {}"
CHILD = "import subprocess; subprocess.Popen(['sleep', '60']); "


def listening(then: str = "time.sleep(60)"):
    """Command of a process that keeps a socket open."""
    code = LISTEN.format(then).replace("socket.create", "kept = socket.create", 1)
    return lambda port: [sys.executable, "-c", code, str(port)]


def gone(pid: int, seconds: float = 5.0) -> bool:
    """Whether a process ends within some seconds; a zombie has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_blocks_never_overlap_and_come_back():
    blocks = [PortBlock() for _ in range(8)]
    ports = [port for block in blocks for port in range(block.first, block.first + BLOCK)]
    assert len(set(ports)) == len(ports)
    first = blocks[0].first
    blocks[0].release()
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    claim.bind(f"\0robo-ports-{first}")
    claim.close()
    for block in blocks[1:]:
        block.release()


def test_a_server_and_what_it_started_end_with_stop():
    server = ServerProcess(listening(CHILD + "time.sleep(60)"))
    server.wait(20.0)
    assert server.alive() and accepts(server.host, server.port)
    children = Path(f"/proc/{server.process_id}/task/{server.process_id}/children")
    deadline = time.monotonic() + 5
    while not (child := children.read_text().split()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    server.stop()
    server.stop()
    assert gone(server.process_id) and gone(int(child[0]))
    assert not accepts(server.host, server.port) and not server.alive()


def test_a_server_that_never_starts_is_one_sentence_and_is_ended():
    supervisor = Supervisor(lambda port: ["sleep", "60"], start_timeout=0.3)
    with pytest.raises(RoboError, match=r"sleep did not open port \d+ within 0.3 s") as error:
        supervisor.server()
    assert not isinstance(error.value, ServerLostError) and "\n" not in str(error.value)
    assert not supervisor.alive()
    with pytest.raises(RoboError, match=r"sleep did not open port \d+ within 0.3 s"):
        supervisor.server()
    supervisor.close()


def test_a_replacement_that_does_not_start_is_a_lost_server():
    fails = [sys.executable, "-c", "import sys; sys.exit('no memory left')"]
    commands = [listening(), lambda port: fails, listening()]
    supervisor = Supervisor(lambda port: commands.pop(0)(port), start_timeout=20.0)
    try:
        supervisor.server()
        supervisor.replace()
        with pytest.raises(ServerLostError, match=r"exit code 1 .* said: no memory left"):
            supervisor.server()
        assert supervisor.server().alive() and not commands
    finally:
        supervisor.close()


def test_a_server_that_ends_at_once_says_why():
    code = "import sys; print('no such map', file=sys.stderr); sys.exit(3)"
    supervisor = Supervisor(lambda port: [sys.executable, "-c", code], start_timeout=20.0)
    with pytest.raises(RoboError, match=r"exit code 3 .* said: no such map") as error:
        supervisor.server()
    assert not isinstance(error.value, ServerLostError)
    supervisor.close()


def test_replace_starts_another_and_counts_episodes_anew():
    supervisor = Supervisor(listening(), 20.0, episodes_per_server=2)
    try:
        first = supervisor.server()
        assert not supervisor.spent
        supervisor.count_episode()
        supervisor.count_episode()
        assert supervisor.spent
        supervisor.replace()
        second = supervisor.server()
        assert gone(first.process_id) and second.alive()
        assert supervisor.restarts == 1 and not supervisor.spent
    finally:
        supervisor.close()


def test_a_server_dies_with_a_killed_parent():
    code = (
        "import sys, time; sys.path[:] = sys.argv[1].split(':')\n"
        "from robo.sim.carla.supervisor import ServerProcess\n"
        "server = ServerProcess(lambda port: ['sleep', '60'])\n"
        "print(server.process_id, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, ":".join(sys.path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(pid)
