"""What every recipe shares: its card, printed and kept beside the data."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robo.data import EpisodeStore
from robo.errors import RoboError
from robo.storage import plain, write_json


@contextmanager
def card(out: Path, recipe: str, what: str, **fields: Any) -> Iterator[dict[str, Any]]:
    """A data set's card in ``out/card.json``: what the body puts in, counts, size and seconds.

    Raises:
        RoboError: where ``out`` holds a data set already.
    """
    if (out / "card.json").exists():
        raise RoboError(f"{out} holds a data set already; name another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {"recipe": recipe, "what": what, **fields}
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
