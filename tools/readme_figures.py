"""Write the tables of the README and of the docs pages from the figures in benchmarks/results.

    python tools/readme_figures.py            # rewrite README.md and docs/*.md
    python tools/readme_figures.py --check    # exit 1 where it would change

A table stands between ``<!-- figures: NAME -->`` and ``<!-- end -->``; its figures come from
``benchmarks/results/NAME.json``. Where that file is missing, the table says so.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from assess_tables import ASSESS_BUILDERS
from driving_tables import DRIVING_BUILDERS
from figure_tables import BUILDERS as README_BUILDERS
from figure_tables import FigureError
from gpu_tables import GPU_BUILDERS
from grm_tables import GRM_BUILDERS
from language_tables import LANGUAGE_BUILDERS
from ppo_tables import PPO_BUILDERS
from simulator_tables import SIMULATOR_BUILDERS
from speed_tables import SPEED_BUILDERS
from srpo_tables import SRPO_BUILDERS

BUILDERS = {
    **README_BUILDERS,
    **ASSESS_BUILDERS,
    **PPO_BUILDERS,
    **SRPO_BUILDERS,
    **GPU_BUILDERS,
    **GRM_BUILDERS,
    **LANGUAGE_BUILDERS,
    **DRIVING_BUILDERS,
    **SPEED_BUILDERS,
    **SIMULATOR_BUILDERS,
}
ROOT = Path(__file__).resolve().parent.parent
MISSING = "not measured yet"
BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def figure(name: str, results: Path) -> str:
    """The table of that name, or the words that it was not measured.

    Raises:
        FigureError: no such table, or a file that it cannot be made from.
    """
    if name not in BUILDERS:
        raise FigureError(f"a page asks for the table {name!r}; there are {list(BUILDERS)}")
    path = results / f"{name}.json"
    if not path.exists():
        return f"*{MISSING}*"
    try:
        return BUILDERS[name](json.loads(path.read_text()))
    except FigureError as error:
        raise FigureError(f"{path.name} {error}: measure it again") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise FigureError(
            f"{path.name} has another layout than its table expects "
            f"({type(error).__name__}: {error}): measure it again or mend tools/readme_figures.py"
        ) from error


def rewritten(text: str, results: Path) -> str:
    """``text`` with every table made anew from the files in ``results``."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{figure(found[2], results)}\n\n{found[3]}", text)


def documents(root: Path = ROOT) -> list[Path]:
    """README.md and the docs pages."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the pages, or with ``--check`` say which would change."""
    parser = argparse.ArgumentParser(description="Write the tables of README and docs.")
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if stale")
    parser.add_argument("--pages", type=Path, nargs="+", default=documents())
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    try:
        before = {page: page.read_text() for page in options.pages}
        after = {page: rewritten(text, options.results) for page, text in before.items()}
    except (FigureError, OSError) as error:
        print(f"readme_figures: {error}", file=sys.stderr)
        return 2
    stale = [page for page in before if before[page] != after[page]]
    if stale and options.check:
        names = ", ".join(page.name for page in stale)
        print(f"tables are stale in {names}: run python tools/readme_figures.py", file=sys.stderr)
        return 1
    for page in stale:
        page.write_text(after[page])
    return 0


if __name__ == "__main__":
    sys.exit(main())
