"""``LeRobotRobot``: any robot of lerobot, in lerobot's own environment, behind a process boundary.

lerobot cannot share robo's environment (its pins exclude each other), and a driver that hangs or
crashes must not take the control loop with it. :mod:`robo.robots.lerobot_server` runs there.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robo.robots import lerobot_server
from robo.robots.lerobot_server import read_frame, write_frame
from robo.robots.robot import Capabilities, CommandSpace, Reading, RobotError, View


@dataclass(frozen=True)
class LeRobotConfig:
    """Which robot of lerobot, and what it may do."""

    python: str = ""
    """Python of the environment in which lerobot is installed; "" is this one."""
    type: str = ""
    """lerobot's name of the robot, such as so101_follower, or module:NAME."""
    config: str = "{}"
    """Its settings as JSON, as lerobot takes them: {"port": "/dev/ttyACM0", "id": "arm"}."""
    limits: Path | None = None
    """JSON file: {"shoulder_pan.pos": {"low", "high", "step", "speed", "tracking", "home"}, ...},
    an entry for each of its actions, in lerobot's units; "alone": true for grippers."""
    views: dict[str, str] = field(default_factory=dict)
    """lerobot's camera to robo's camera role, name and role in turn; none keeps its names."""
    rate: float = 20.0
    """Commands per second that the robot is made for."""
    timeout: float = 2.0
    """Seconds that an answer may take."""


class LeRobotRobot:
    """See the module; it is a ``Robot``."""

    def __init__(self, config: LeRobotConfig) -> None:
        """Nothing is started before :meth:`connect`.

        Raises:
            RobotError: where type or limits are missing, or the limits cannot be read.
        """
        if not config.type or config.limits is None:
            raise RobotError(
                "a lerobot robot needs --lerobot.type and --lerobot.limits, as lerobot knows no "
                "limits of its own (docs/real_robot.md)"
            )
        self.config = config
        self._limits = _read_limits(config.limits)
        self._process: subprocess.Popen[bytes] | None = None
        self._writing = threading.Lock()
        self._waiting: dict[int, queue.SimpleQueue[Any]] = {}
        self._number = 0
        self._capabilities: Capabilities | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Limits from the file, views as the robot shows them.

        Raises:
            RobotError: before :meth:`connect`.
        """
        if self._capabilities is None:
            raise RobotError("the lerobot robot is not connected: call connect() first")
        return self._capabilities

    def connect(self) -> None:
        """Start the other process and connect the robot.

        Raises:
            RobotError: where it does not start, or the limits do not fit its actions.
        """
        if self._process is not None:
            self.close()
        command = [self.config.python or sys.executable, lerobot_server.__file__]
        try:
            settings = json.loads(self.config.config)
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except (OSError, ValueError) as error:
            raise RobotError(
                f"cannot start lerobot by {command[0]} with {self.config.config}: {error}"
            ) from error
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        with self._writing:
            self._write({"type": self.config.type, "config": settings}, {})
        try:
            hello, _ = self._call("connect", timeout=60.0)
            header, arrays = self._call("read", timeout=10.0)
        except RobotError:
            self.close()
            raise
        del header
        self._capabilities = self._describe(hello, arrays)

    def read(self) -> Reading:
        """State and frames; frames bear the time of the reading (lerobot tells no other)."""
        header, arrays = self._call("read")
        views = {
            self._role(key.removeprefix("view/")): View(image, header["time"])
            for key, image in arrays.items()
            if key.startswith("view/")
        }
        position = arrays["position"]
        state = {"joints": position, "state": position.astype(np.float32)}
        return Reading(header["time"], position, state, views)

    def send(self, command: np.ndarray) -> None:
        """Pass the targets on."""
        self._call("send", {"command": np.asarray(command, np.float64)})

    def hold(self) -> None:
        """Tell it to stay; the answer is not waited for, as another call may hang."""
        self._post("hold", {})

    def stop(self) -> None:
        """Tell it to stay and take no more commands; where it does not answer, end its process.

        Motors then keep their last target under torque.
        """
        process = self._process
        try:
            self._call("stop", timeout=0.3)
        except RobotError:
            if process is not None:
                process.kill()

    def close(self) -> None:
        """Disconnect the robot and end the process."""
        process, self._process = self._process, None
        if process is None:
            return
        self._process = process
        try:
            self._call("close", timeout=3.0)
        except RobotError:
            process.kill()
        self._process = None
        if process.stdin is not None:
            with contextlib.suppress(OSError):  # what was not yet read on the other side
                process.stdin.close()
        try:
            process.wait(timeout=3.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    # ------------------------------------------------------------------ inside

    def _role(self, camera: str) -> str:
        return self.config.views.get(camera, camera)

    def _describe(self, hello: dict[str, Any], arrays: dict[str, np.ndarray]) -> Capabilities:
        names = hello["actions"]
        wrong = sorted(set(names) ^ set(self._limits))
        if wrong:
            raise RobotError(
                f"{self.config.limits} does not fit the robot's actions {names}: {wrong} are "
                "missing in one of them"
            )
        columns = {
            column: np.array([float(self._limits[name][column]) for name in names])
            for column in ("low", "high", "step", "speed", "tracking", "home")
        }
        alone = tuple(i for i, name in enumerate(names) if self._limits[name].get("alone"))
        space = CommandSpace(
            tuple(names),
            columns["low"],
            columns["high"],
            columns["step"],
            columns["speed"],
            columns["tracking"],
            alone=alone,
        )
        return Capabilities(
            name=f"lerobot {hello['name']}",
            command=space,
            home=columns["home"],
            views={
                self._role(key.removeprefix("view/")): (image.shape[0], image.shape[1])
                for key, image in arrays.items()
                if key.startswith("view/")
            },
            rate=self.config.rate,
            joint_low=space.low - space.tracking,
            joint_high=space.high + space.tracking,
            joint_speed=space.speed,
        )

    def _write(self, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        process = self._process
        if process is None or process.stdin is None:
            raise RobotError("the lerobot robot is not connected: call connect() first")
        try:
            write_frame(process.stdin, header, arrays)  # type: ignore[arg-type]
        except (OSError, ValueError) as error:
            raise RobotError(
                f"lerobot's process is gone ({error}): see its output above"
            ) from error

    def _post(self, name: str, arrays: dict[str, np.ndarray]) -> tuple[int, queue.SimpleQueue[Any]]:
        with self._writing:
            self._number += 1
            number = self._number
            answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
            self._waiting[number] = answer
            self._write({"id": number, "do": name}, arrays)
        return number, answer

    def _call(
        self,
        name: str,
        arrays: dict[str, np.ndarray] | None = None,
        timeout: float | None = None,
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        number, answer = self._post(name, arrays or {})
        wait = self.config.timeout if timeout is None else timeout
        try:
            header, given = answer.get(timeout=wait)
        except queue.Empty:
            raise RobotError(f"the lerobot robot did not answer {name!r} within {wait} s") from None
        finally:
            self._waiting.pop(number, None)
        if not header["ok"]:
            raise RobotError(f"the lerobot robot refused {name!r}: {header['error']}")
        return header, given

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        try:
            while True:
                header, arrays = read_frame(process.stdout)  # type: ignore[arg-type]
                waiting = self._waiting.get(header["id"])
                if waiting is not None:
                    waiting.put((header, arrays))
        except (EOFError, OSError, ValueError):
            gone = {"ok": False, "error": "its process ended"}
            for waiting in list(self._waiting.values()):
                waiting.put((gone, {}))


def _read_limits(path: Path) -> dict[str, dict[str, Any]]:
    """The limits file.

    Raises:
        RobotError: where it cannot be read or an entry lacks a number.
    """
    try:
        limits = json.loads(path.read_text())
        for name, entry in limits.items():
            for column in ("low", "high", "step", "speed", "tracking", "home"):
                if not isinstance(entry[column], int | float):
                    raise ValueError(f"{name}: {column} is {entry[column]!r}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RobotError(
            f"cannot read the limits {path} ({error}): expected low, high, step, speed, tracking "
            "and home for each action"
        ) from error
    return limits
