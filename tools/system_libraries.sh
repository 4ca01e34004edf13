#!/bin/sh
# The system libraries of headless rendering and OpenCV: nothing where they are present, an
# installation on Debian as root, otherwise the one command to run.
set -eu

[ "$(uname -s)" = Linux ] || exit 0

packages="libegl1 libgl1-mesa-dri libopengl0 libgl1 libglib2.0-0 libosmesa6"
install="apt-get update && apt-get install -y --no-install-recommends $packages"

# libEGL.so.1 only hands on to a vendor's library: Mesa's (software, any machine) or NVIDIA's.
missing=$("${PYTHON:-python3}" - <<'PYTHON'
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
)
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing the system libraries of headless rendering (missing: $missing)"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $packages >/dev/null
    exit 0
fi

echo "Headless rendering lacks the system libraries $missing." >&2
if command -v apt-get >/dev/null; then
    echo "Install them with: sudo sh -c '$install'" >&2
else
    echo "Install your system's packages of Mesa's EGL, OpenGL and GLib." >&2
fi
exit 1
