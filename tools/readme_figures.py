"""Write the README's tables from the figures in benchmarks/results.

    python tools/readme_figures.py            # rewrite README.md
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

from figure_tables import BUILDERS, FigureError

ROOT = Path(__file__).resolve().parent.parent
MISSING = "not measured yet"
BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def figure(name: str, results: Path) -> str:
    """The table of that name, or the words that it was not measured.

    Raises:
        FigureError: no such table, or a file that it cannot be made from.
    """
    if name not in BUILDERS:
        raise FigureError(f"README.md asks for the table {name!r}; there are {list(BUILDERS)}")
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the README, or with ``--check`` say whether that would change it."""
    parser = argparse.ArgumentParser(description="Write the README's tables.")
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if stale")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    try:
        before = options.readme.read_text()
        after = rewritten(before, options.results)
    except (FigureError, OSError) as error:
        print(f"readme_figures: {error}", file=sys.stderr)
        return 2
    if before == after:
        return 0
    if options.check:
        print("README.md's tables are stale: run python tools/readme_figures.py", file=sys.stderr)
        return 1
    options.readme.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
