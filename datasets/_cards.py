"""What every recipe shares: its card, printed and kept beside the data, and how it ends."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robo.data import EpisodeStore
from robo.errors import RoboError
from robo.storage import plain, write_json


class UnfinishedError(RoboError):
    """A folder that holds a part of a data set: its recipe was interrupted, or failed."""


LICENCES = {
    "mujoco": "Apache-2.0 (scripts, actions, scenes)",
    "robosuite": "Apache-2.0 (scripts, actions); pictures show robosuite's assets (MIT)",
    "robosuite-batch": "Apache-2.0 (scripts, actions); pictures show robosuite's assets (MIT)",
    "libero": "Apache-2.0 (scripts, actions); pictures show LIBERO's assets (CC BY 4.0 and "
    "upstream licences)",
    "carla-standin": "Apache-2.0 (scripts, actions, pictures)",
    "carla": "Apache-2.0 (scripts, actions); pictures show CARLA's assets under its own licence",
}
"""Of what is recorded of a task, by the first part of its id."""


def licence_of(task: str) -> str:
    """Licence of episodes of a task; see :data:`LICENCES`."""
    unknown = "Apache-2.0 (scripts, actions); pictures as the simulator's assets"
    return LICENCES.get(task.partition("/")[0], unknown)


def run(recipe: str, main: Callable[[Any], None], options: type) -> None:
    """Read ``options`` from the command line and do ``main``; bad input ends in one sentence."""
    import tyro

    try:
        main(tyro.cli(options))
    except RoboError as error:
        raise SystemExit(f"{recipe}: {error}") from error


@contextmanager
def card(out: Path, recipe: str, what: str, **fields: Any) -> Iterator[dict[str, Any]]:
    """A data set's card in ``out/card.json``: what the body puts in, counts, size and seconds.

    Raises:
        RoboError: where ``out`` holds a data set already.
        UnfinishedError: where it holds something else: appended to, a set would hold things twice.
    """
    if (out / "card.json").exists():
        raise RoboError(f"{out} holds a data set already; name another folder with --out")
    if out.exists() and any(out.iterdir()):
        raise UnfinishedError(
            f"{out} holds files but no card.json, as a run that was interrupted leaves them; "
            "remove it, or name another folder with --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", f"datasets/{recipe}.py", *sys.argv[1:]])
    content: dict[str, Any] = {"recipe": recipe, "what": what, "command": command, **fields}
    wall, cpu = time.perf_counter(), time.process_time()
    yield content
    content["seconds"] = round(time.perf_counter() - wall, 1)
    content["cpu_seconds"] = round(time.process_time() - cpu, 1)
    files = [file for file in out.rglob("*") if file.is_file()]
    content["bytes"] = sum(file.stat().st_size for file in files)
    write_json(out / "card.json", content)
    print(json.dumps(plain(content)), flush=True)


def counts(path: Path) -> dict[str, Any]:
    """Episodes, successes, steps and frames of a store."""
    headers = EpisodeStore(path, mode="r").manifest.headers
    return {
        "episodes": len(headers),
        "successes": sum(header.success for header in headers),
        "steps": sum(header.length for header in headers),
        "frames": sum(header.frame_count * len(header.image_sizes) for header in headers),
        "seeds": seeds_of([header.info.seed for header in headers]),
    }


def seeds_of(seeds: Sequence[int | None]) -> str:
    """The range of the seeds used."""
    given = [seed for seed in seeds if seed is not None]
    return f"{min(given)} to {max(given)}" if given else "none"


def folder_of(task: str) -> str:
    """A task id as a folder's name."""
    return task.replace("/", "_")
