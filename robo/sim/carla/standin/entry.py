"""Serve in the foreground until a signal, or until the parent process is gone."""

from __future__ import annotations

import ipaddress
import os
import signal

from robo.sim.carla.standin.errors import StandinError
from robo.sim.carla.standin.process import READY
from robo.sim.carla.standin.sensors.ahead import compile_once
from robo.sim.carla.standin.server import StandinServer


def check_host(host: str, allow_public: bool) -> str:
    """The address of ``host``; the protocol has no password, so only loopback is taken as it is.

    Raises:
        StandinError: not an address, or not loopback and ``allow_public`` is not set.
    """
    try:
        address = ipaddress.IPv4Address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise StandinError(f"host is {host!r}, expected an IPv4 address") from None
    if not (address.is_loopback or allow_public):
        raise StandinError(
            f"host is {host}, which others can reach, and CARLA's protocol has no password; "
            "add --allow-public to serve there all the same"
        )
    return str(address)


def serve(
    map: str,
    *,
    port: int,
    host: str = "127.0.0.1",
    seed: int = 0,
    allow_public: bool = False,
    parent: int | None = None,
) -> None:
    """Serve; prints one line once ready: map, RPC port, stream port.

    Args:
        map: a built-in town or the path of an .xodr file.
        port: RPC port; streams take the next one. 0 takes free ones.
        host: address to bind.
        seed: seed of the world.
        allow_public: whether ``host`` may be one that others can reach.
        parent: process without which the server ends.

    Raises:
        StandinError: no such map, a port is taken, or a public address without leave.
    """
    # On pictures this small OpenCV's threads only wait for each other; read when it loads.
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
    compile_once()
    server = StandinServer(map, port, seed, check_host(host, allow_public))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.interrupt())
    print(READY, map, server.port, server.stream_port, flush=True)
    server.run(parent)
