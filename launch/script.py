"""The last lines of every launch script: read its settings, run it, end with the right code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import tyro

from robo.errors import RoboError

Config = TypeVar("Config")


def run(
    main: Callable[[Config], Any], config: type[Config], description: str | None = None
) -> None:
    """Call ``main`` with the settings of the command line.

    Exit codes are those of `robo` itself (docs/errors.md): 2 with one sentence for bad input, 130
    for an interruption; ``ROBO_DEBUG=1`` shows the traceback behind a sentence.

    Args:
        main: the script.
        config: dataclass of its settings.
        description: text of its help; None takes the dataclass's.
    """
    name = Path(sys.argv[0]).stem
    try:
        main(tyro.cli(config, description=description))
    except RoboError as error:
        if os.environ.get("ROBO_DEBUG") == "1":
            raise
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
