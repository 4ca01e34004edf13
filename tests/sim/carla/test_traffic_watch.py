"""A tick that the client's TrafficManager holds up for ever is freed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import msgpack
import pytest

from robo.sim.carla.traffic_watch import TrafficWatch
from tests.sim.carla.isolated import run_isolated


class Listener:
    """Answers calls as the TrafficManager's port does, and keeps them."""

    def __init__(self) -> None:
        self.calls: list[list] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            unpacker = msgpack.Unpacker()
            while data := connection.recv(4096):
                unpacker.feed(data)
                for kind, number, name, arguments in unpacker:
                    assert kind == 0
                    self.calls.append([name, *arguments])
                    connection.sendall(msgpack.Packer().pack([1, number, None, None]))

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.close()


def wait_until(condition, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


def test_a_stuck_tick_is_woken_out_of_synchronous_mode_and_back(listener) -> None:
    watch = TrafficWatch(listener.port, 0.2)
    with watch:
        assert wait_until(lambda: watch.freed)
    assert listener.calls[:2] == [["set_synchronous_mode", False], ["set_synchronous_mode", True]]
    watch.close()


def test_ticks_that_end_are_left_alone(listener) -> None:
    watch = TrafficWatch(listener.port, 30.0)
    for _ in range(100):
        with watch:
            time.sleep(0.001)
    watch.close()
    assert not watch.freed and not listener.calls


def test_a_port_where_nobody_listens_is_asked_again_and_closing_never_waits() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    watch = TrafficWatch(port, 0.1)
    with watch:
        time.sleep(0.5)
    began = time.monotonic()
    watch.close()
    assert watch.freed == 0 and time.monotonic() - began < 5.0


REAL = """
import time
import numpy as np
from robo.sim.carla.client import Connection
from robo.sim.carla.population import Population
from robo.sim.carla.standin.process import start_process
with start_process("Grid", seed=1) as server:
    connection = Connection("127.0.0.1", server.port, "Grid", tick_timeout=1.0)
    population = Population(connection, 4, 0, traffic_port=8000)
    population.repopulate(np.random.default_rng(0), np.zeros((20, 3)))
    watch = connection.traffic_watch
    for _ in range(400):
        connection.tick()
    with watch:  # what a tick that never ends looks like
        time.sleep(4.0)
    woken = watch.freed
    cars = list(connection.world.get_actors().filter("vehicle.*"))
    before = [car.get_location() for car in cars]
    for _ in range(400):
        connection.tick()
    far = max(car.get_location().distance(place) for car, place in zip(cars, before))
    population.clear()
    population.close()
    print("woken", woken, "far", far, "watched", connection.traffic_watch is not None, flush=True)
    connection.close()
"""


@pytest.mark.slow
def test_the_real_manager_takes_the_message_and_goes_on() -> None:
    pytest.importorskip("carla")
    printed = run_isolated(REAL)
    _, woken, _, far, _, watched = printed[-1].split()
    assert int(woken) >= 1
    assert float(far) > 5.0
    assert watched == "False"
