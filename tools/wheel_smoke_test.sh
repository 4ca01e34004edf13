#!/usr/bin/env bash
# Builds the wheel and uses it in a clean venv: the console script, the package data, one task.
# Usage: wheel_smoke_test.sh VENV, which has robo's dependencies and build tools installed.
#
# The clean venv reads the dependencies out of VENV by a .pth file, which spares a second download
# of PyTorch. Python does not follow the .pth files of a folder named in one, so the editable robo
# of VENV stays out of reach; the test checks that too.
set -euo pipefail

venv=$(cd "$1" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$venv/bin/python" -m build --wheel --no-isolation --outdir "$work/dist" "$root" \
    >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }

"$venv/bin/python" -m venv --without-pip "$work/venv"
"$venv/bin/python" -m pip --python "$work/venv/bin/python" --disable-pip-version-check \
    install --quiet --no-deps --no-index "$work"/dist/*.whl
packages='import sysconfig; print(sysconfig.get_path("purelib"))'
site=$("$work/venv/bin/python" -c "$packages")
"$venv/bin/python" -c "$packages" >"$site/dependencies_of_the_build_venv.pth"

cd "$work" # away from the source tree
unset PYTHONPATH
"$work/venv/bin/robo" --help >/dev/null
"$work/venv/bin/robo" tasks --json >/dev/null
"$work/venv/bin/python" - "$root" "$site" <<'PYTHON'
import pathlib
import sys

import robo

root, site = map(pathlib.Path, sys.argv[1:])
installed = pathlib.Path(robo.__file__).parent
assert installed == site / "robo", f"imported {installed}, not the wheel's {site / 'robo'}"


def files(folder):
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {path for path in found if "__pycache__" not in path.parts}


lost = sorted(map(str, files(root / "robo") - files(installed)))
assert not lost, f"the wheel lacks {lost}"
strangers = {"launch", "datasets", "tests", "benchmarks", "tools"} & {p.name for p in site.iterdir()}
assert not strangers, f"the wheel also installs {sorted(strangers)}"

environment = robo.make("mujoco/Lift")
environment.reset(seed=0)
environment.step(environment.action_space.sample())
environment.close()
print(f"wheel: {len(files(installed))} files, imports and steps mujoco/Lift in a clean venv")
PYTHON
