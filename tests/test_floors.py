"""A folder imports only folders of lower floors, and never a sibling."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "__init__": 1,
    "errors": 0,
    "storage": 1,
    "local_server": 1,
    "precision": 1,
    "rollout": 1,
    "perception": 2,
    "data": 2,
    "sim": 3,
    "rewards": 3,
    "policies": 4,
    "assess": 5,
    "media": 5,
    "robots": 6,
    "web": 6,
    "doctor": 7,
    "commands": 7,
    "cli": 7,
}
TOP = max(FLOORS.values())
# robo/__init__.py hands out robo.sim.registry's three functions on first use.
ALLOWED = {("__init__", "sim")}


def place(path: Path) -> str:
    return path.relative_to(ROOT / "robo").with_suffix("").parts[0]


def imported_places(path: Path) -> set[str]:
    """The folders or modules right under `robo` that `path` imports, relative imports resolved."""
    package = path.relative_to(ROOT).parent.parts
    places = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = [*base, *(node.module.split(".") if node.module else [])]
            names = [".".join([*stem, alias.name]) for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            # `from robo import make` takes a name of robo/__init__.py, not a folder.
            if parts[0] == "robo" and len(parts) > 1 and parts[1] in FLOORS:
                places.add(parts[1])
    return places


FILES = sorted((ROOT / "robo").rglob("*.py"))


def test_every_place_has_a_floor() -> None:
    assert {place(path) for path in FILES} <= set(FLOORS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_lower_floors(path: Path) -> None:
    own = place(path)
    for other in imported_places(path) - {own}:
        lower = FLOORS[other] < FLOORS[own] or FLOORS[own] == TOP
        assert lower or (own, other) in ALLOWED, (
            f"{path.relative_to(ROOT)} (floor {FLOORS[own]}) imports robo.{other} "
            f"(floor {FLOORS[other]})"
        )


def test_simulators_and_rewards_never_meet() -> None:
    assert FLOORS["sim"] == FLOORS["rewards"]
