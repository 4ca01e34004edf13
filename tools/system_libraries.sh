#!/bin/sh
# The system libraries of headless rendering and OpenCV: nothing where they are present, an
# installation on Debian as root, otherwise the one command to run.
#
#     sh tools/system_libraries.sh [compiler]
#
# With "compiler" instead what building a C extension of Python takes: robosuite 1.5 needs evdev,
# which comes as source alone.
set -eu

[ "$(uname -s)" = Linux ] || exit 0

what="headless rendering"
packages="libegl1 libgl1-mesa-dri libopengl0 libgl1 libglib2.0-0 libosmesa6"
if [ "${1:-}" = compiler ]; then
    what="building C extensions"
    packages="gcc libc6-dev linux-libc-dev"
fi

compiler_missing() {
    "${PYTHON:-python3}" - <<'PYTHON'
import os
import shutil
import sys
import sysconfig

lacking = [] if shutil.which("gcc") or shutil.which("cc") else ["gcc"]
if not os.path.exists("/usr/include/linux/input.h"):
    lacking.append("linux/input.h")
if not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
    lacking.append("Python.h")
print(" ".join(lacking))
PYTHON
}

# libEGL.so.1 only hands on to a vendor's library: Mesa's (software, any machine) or NVIDIA's.
libraries_missing() {
    "${PYTHON:-python3}" - <<'PYTHON'
import ctypes

def loads(name):
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True

needed = [("libEGL.so.1",), ("libEGL_mesa.so.0", "libEGL_nvidia.so.0"), ("libOpenGL.so.0",),
          ("libGL.so.1",), ("libglib-2.0.so.0",)]
print(" ".join(names[0] for names in needed if not any(map(loads, names))))
PYTHON
}

if [ "${1:-}" = compiler ]; then
    missing=$(compiler_missing)
    # Debian's own Python has its header in a package; others bring it along.
    case " $missing " in *" Python.h "*) packages="$packages python3-dev" ;; esac
else
    missing=$(libraries_missing)
fi
[ -n "$missing" ] || exit 0
install="apt-get update && apt-get install -y --no-install-recommends $packages"

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing the system packages of $what (missing: $missing)"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $packages >/dev/null
    exit 0
fi

echo "The system lacks $missing, for $what." >&2
if command -v apt-get >/dev/null; then
    echo "Install them with: sudo sh -c '$install'" >&2
else
    echo "Install your system's packages like Debian's $packages." >&2
fi
exit 1
