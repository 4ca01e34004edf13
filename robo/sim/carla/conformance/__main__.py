"""Check the server named on the command line; prints a line of JSON per check."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from robo.errors import RoboError
from robo.sim.carla.conformance.runner import run_conformance


def main() -> int:
    """Returns 0 where nothing differs, 1 where something does, 2 where no server answers."""
    host, port, *options = sys.argv[1:]

    def say(message: dict[str, Any]) -> None:
        print(json.dumps(message), flush=True)

    try:
        results = run_conformance(
            host,
            int(port),
            change_world="--keep-world" not in options,
            on_start=lambda name: say({"start": name}),
            on_result=lambda result: say(asdict(result)),
        )
    except RoboError as error:
        print(error, file=sys.stderr)
        return 2
    say({"done": len(results)})
    return 1 if any(result.differs for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
