"""``python -m robo.sim.carla.standin``: the server's process, as light as it can be."""

from __future__ import annotations

import argparse
import sys

from robo.errors import RoboError
from robo.sim.carla.standin.entry import serve


def main() -> int:
    """Parse the arguments and serve; returns the exit code."""
    parser = argparse.ArgumentParser(prog="carla-standin", description=__doc__)
    parser.add_argument("--map", required=True, help="built-in town, or path of an .xodr file")
    parser.add_argument("--port", type=int, default=2000, help="RPC port; streams take the next")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind")
    parser.add_argument("--seed", type=int, default=0, help="seed of the world")
    parser.add_argument("--allow-public", action="store_true", help="bind more than loopback")
    parser.add_argument("--parent-pid", type=int, help="end when this process is not our parent")
    arguments = parser.parse_args()
    try:
        serve(
            arguments.map,
            port=arguments.port,
            host=arguments.host,
            seed=arguments.seed,
            allow_public=arguments.allow_public,
            parent=arguments.parent_pid,
        )
    except RoboError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
