"""The lerobot side of the process boundary: run by the Python of lerobot's own environment.

Speaks frames over standard input and output: 4 bytes of length (big endian), a JSON object, and
the bytes of the arrays that it lists under "arrays". Imports nothing of robo and nothing beyond
lerobot and NumPy; what lerobot prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import struct
import sys
import time
from typing import Any, BinaryIO

import numpy as np


def write_frame(stream: BinaryIO, header: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Write one frame; arrays are uint8 or float64, of any shape."""
    listed = [(name, str(a.dtype), list(a.shape)) for name, a in arrays.items()]
    text = json.dumps({**header, "arrays": listed}).encode()
    body = b"".join(np.ascontiguousarray(a).tobytes() for a in arrays.values())
    stream.write(struct.pack(">I", len(text)) + text + body)
    stream.flush()


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read one frame.

    Raises:
        EOFError: where the other side is gone.
    """
    (length,) = struct.unpack(">I", _exactly(stream, 4))
    header = json.loads(_exactly(stream, length))
    arrays = {}
    for name, dtype, shape in header.pop("arrays"):
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        arrays[name] = np.frombuffer(_exactly(stream, size), dtype).reshape(shape)
    return header, arrays


def _exactly(stream: BinaryIO, size: int) -> bytes:
    content = stream.read(size)
    if content is None or len(content) < size:
        raise EOFError("the other side closed the pipe")
    return content


def build(description: dict[str, Any]) -> Any:
    """The lerobot robot: of a registered ``type`` with ``config``, or ``module:NAME(config)``."""
    kind, config = description["type"], description["config"]
    if ":" in kind:
        module, _, name = kind.partition(":")
        return getattr(importlib.import_module(module), name)(**config)
    decode = importlib.import_module("draccus").decode
    robots, cameras = (importlib.import_module(f"lerobot.{name}") for name in ("robots", "cameras"))
    for package in (robots, cameras):  # importing a part registers its types
        for part in pkgutil.iter_modules(package.__path__):
            with contextlib.suppress(Exception):  # parts whose hardware packages are missing
                importlib.import_module(f"{package.__name__}.{part.name}")
    made = decode(robots.RobotConfig, {"type": kind, **config})
    return robots.make_robot_from_config(made)


class Server:
    """One robot, asked one thing after another."""

    def __init__(self, robot: Any) -> None:
        """Not yet connected."""
        self.robot = robot
        self.actions = [str(name) for name in robot.action_features]
        self.stopped = False

    def answer(self, request: dict[str, Any], arrays: dict[str, Any]) -> tuple[dict, dict]:
        """What one request gives: values and arrays."""
        name = request["do"]
        if name == "connect":
            self.robot.connect(calibrate=False)
            self.stopped = False
            return {"actions": self.actions, "name": str(getattr(self.robot, "name", "robot"))}, {}
        if name == "read":
            return self._read()
        if name == "send" and not self.stopped:
            self._send(arrays["command"])
        elif name in ("hold", "stop"):
            # Torque stays on: an arm without it would fall.
            self.stopped = self.stopped or name == "stop"
            state = self._read()[1]["position"]
            self._send(state)
        elif name == "close":
            self.robot.disconnect()
        return {}, {}

    def _read(self) -> tuple[dict, dict]:
        found = self.robot.get_observation()
        arrays = {"position": np.array([float(found[name]) for name in self.actions])}
        for key, value in found.items():
            if np.ndim(value) == 3:
                arrays[f"view/{key}"] = np.asarray(value, np.uint8)
        return {"time": time.monotonic()}, arrays

    def _send(self, command: Any) -> None:
        self.robot.send_action(
            {name: float(v) for name, v in zip(self.actions, command, strict=True)}
        )


def main() -> None:
    """Serve until the pipe closes."""
    # A script's folder comes first on the path, and this one holds a lerobot.py of ours.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # prints of libraries must not get between the frames
    source = sys.stdin.buffer
    description, _ = read_frame(source)
    server = None
    while True:
        try:
            request, arrays = read_frame(source)
        except EOFError:
            break
        try:
            if server is None:
                server = Server(build(description))
            values, given = server.answer(request, arrays)
            write_frame(output, {"id": request["id"], "ok": True, **values}, given)
        except Exception as error:  # a robot may raise anything; the other side decides
            text = f"{type(error).__name__}: {error}"
            write_frame(output, {"id": request["id"], "ok": False, "error": text}, {})
    if server is not None:
        with contextlib.suppress(Exception):
            server.robot.disconnect()


if __name__ == "__main__":
    main()
