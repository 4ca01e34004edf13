"""``robo carla-standin``: our server that speaks CARLA's wire protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class CarlaStandin:
    """Serve a town to CARLA 0.9.16 clients, without Unreal and without a GPU.

    Prints one line once clients can connect: the map, the RPC port, the port of the streams. Ends
    at SIGTERM or SIGINT. Tests API use, timing and privileged driving; nothing that runs on it is
    a CARLA result.
    """

    map: str
    """Built-in town (Grid, Junctions, Multilane), or path of an .xodr file."""
    port: int = 2000
    """RPC port; the streams take the next one. 0 takes free ones."""
    host: str = "127.0.0.1"
    """Address to bind."""
    allow_public: bool = False
    """Bind an address that others can reach; CARLA's protocol has no password."""
    seed: int = 0
    """Seed of the world's traffic."""
    parent_pid: int | None = None
    """Process id: the server ends once it is no longer the child of this process."""
    out: Path | None = None
    """Run folder for config.json and result.json."""
    json: bool = False
    """Print the result as one line of JSON when the server ends."""

    def run(self) -> dict[str, Any]:
        """Serve until told to end.

        Raises:
            RoboError: no such map, a port is taken, a public address without leave, or the extra
                ``carla`` is not installed.
        """
        from robo.sim.carla.standin.entry import serve

        serve(
            self.map,
            port=self.port,
            host=self.host,
            seed=self.seed,
            allow_public=self.allow_public,
            parent=self.parent_pid,
        )
        return {"backend": "carla-standin", "map": self.map}
