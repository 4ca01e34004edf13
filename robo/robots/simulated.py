"""``SimulatedRobot``: a MuJoCo arm in real time, with faults on demand.

It moves by the clock, whether or not someone sends commands, and is driven like a real arm: by
absolute targets of tool and fingers. What it shows can be spoiled by :mod:`robo.robots.faults`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robo.robots.clock import Clock, WallClock
from robo.robots.faults import Fault, parse_fault
from robo.robots.paced_simulation import ONE, TIMESTEP, PacedSimulation
from robo.robots.robot import Capabilities, CommandSpace, Reading, RobotError
from robo.robots.simulated_camera import SimulatedCameras
from robo.sim.mujoco.control import (
    FINGER_STEP,
    LOWER,
    SPEED,
    STEP,
    UPPER,
    WORKSPACE_HIGH,
    WORKSPACE_LOW,
)
from robo.sim.mujoco.rendering import ViewRenderer
from robo.sim.mujoco.simulation import RATE
from robo.sim.mujoco.tasks import OPEN, TASKS

BOX_MARGIN = 0.02
"""How far the tool's box lies outside the commanded targets, m: the arm overshoots a little."""


@dataclass(frozen=True)
class SimulatedConfig:
    """What the simulated robot is like."""

    task: str = "mujoco/Lift"
    """Its scene: mujoco/Reach, mujoco/Push or mujoco/Lift."""
    views: tuple[str, ...] = ("front",)
    """Its cameras, of front, side and wrist."""
    size: int = 128
    """Height and width of frames, pixels; 0 draws none."""
    camera_rate: float = 20.0
    """Frames per second."""
    pixel_noise: float = 1.0
    """Standard deviation of the sensor's noise, grey levels; 0 turns it off."""
    faults: tuple[str, ...] = ()
    """Faults of every trial, KIND@START+DURATION*MAGNITUDE, such as frozen_camera@1+0.5."""
    seed: int = 0
    """Of noise."""

    def __post_init__(self) -> None:
        """Refuse what there is not."""
        if self.task.removeprefix("mujoco/") not in TASKS or not self.task.startswith("mujoco/"):
            raise RobotError(
                f"the simulated robot has no task {self.task!r}, expected one of "
                f"{[f'mujoco/{name}' for name in TASKS]}"
            )
        if self.size < 0 or self.camera_rate <= 0:
            raise RobotError(
                f"size is {self.size} and camera_rate {self.camera_rate}, expected at least 0 and "
                "above 0"
            )
        for text in self.faults:
            parse_fault(text)


class SimulatedRobot:
    """See the module; it is a ``Robot`` and arranges its own scene (``SceneControl``)."""

    def __init__(self, config: SimulatedConfig | None = None, clock: Clock | None = None) -> None:
        """Build the simulation; nothing moves before :meth:`connect`."""
        self.config = config or SimulatedConfig()
        self.clock: Clock = clock or WallClock()
        self.rules = TASKS[self.config.task.removeprefix("mujoco/")]()
        self.instruction = self.rules.instruction
        self.faults = [parse_fault(text) for text in self.config.faults]
        self._simulation = PacedSimulation(self.rules)
        self._generator = np.random.default_rng(self.config.seed)
        self._cameras = SimulatedCameras(
            self.config.camera_rate, self.config.pixel_noise, self.config.seed
        )
        self._renderer: ViewRenderer | None = None
        self._physics = threading.RLock()  # the watchdog's thread may hold during a reading
        self._connected = False
        self._solved = False
        self._stamp = 0.0
        self._moved_to = self._began = self.clock.now()
        self.prepare(0)

    # ------------------------------------------------------------------ the robot

    @property
    def capabilities(self) -> Capabilities:
        """Tool targets in metres, in the box of the tasks."""
        views = self.config.views if self.config.size else ()
        size = (self.config.size, self.config.size)
        return Capabilities(
            name=f"simulated arm, {self.config.task}",
            command=CommandSpace(
                names=("tool_x", "tool_y", "tool_z", "fingers"),
                low=np.append(WORKSPACE_LOW, 0.0),
                high=np.append(WORKSPACE_HIGH, OPEN),
                step=np.array([STEP, STEP, STEP, FINGER_STEP]) * (1 + 1e-9),
                speed=np.array([STEP, STEP, STEP, FINGER_STEP]) * RATE * 1.25,
                tracking=np.array([0.03, 0.03, 0.03, 2 * OPEN]),
                units=("m",) * 4,
                tool=(0, 1, 2),
                alone=(3,),
            ),
            home=np.array([0.45, 0.0, 0.20, OPEN if self.rules.gripper else 0.0]),
            views={view: size for view in views},
            rate=RATE,
            joint_low=LOWER,
            joint_high=UPPER,
            joint_speed=SPEED,
            box_low=WORKSPACE_LOW - BOX_MARGIN,
            box_high=WORKSPACE_HIGH + BOX_MARGIN,
            tool_speed=1.2,
            force=250.0,
        )

    def connect(self) -> None:
        """Start the clock of the simulation."""
        if self.config.size and self._renderer is None:
            size = self.config.size
            self._renderer = ViewRenderer(self._simulation.model, self.config.views, size, size)
        self._connected = True
        self._moved_to = self.clock.now()

    def read(self) -> Reading:
        """State and frames now, or what the faults make of them."""
        self._check_connected()
        faults = self._active()
        for kind in ("latency", "hang"):
            if kind in faults:
                self.clock.sleep_until(self.clock.now() + faults[kind].size)
        with self._physics:
            return self._measure(faults)

    def _measure(self, faults: dict[str, Fault]) -> Reading:
        now = self._flow()
        fresh = None
        if self._renderer is not None and self._cameras.due(now):
            images = self._renderer.render(*self._simulation.drawn_state(0))
            fresh = self._cameras.take(dict(zip(self.config.views, images, strict=True)), now)
        views = self._cameras.show(fresh, faults, now)
        if "stale_state" not in faults:
            self._stamp = self._moved_to
        shift = faults["clock_jump"].size if "clock_jump" in faults else 0.0
        if shift:
            views = {
                role: type(view)(view.image, view.time + shift) for role, view in views.items()
            }
        state = self._state(faults)
        position = np.append(state["tool"], self._simulation.fingers)
        return Reading(self._stamp + shift, position, state, views)

    def send(self, command: np.ndarray) -> None:
        """Head for the tool and finger position ``command [4]``, m."""
        self._check_connected()
        faults = self._active()
        if "send_error" in faults:
            raise RobotError("the simulated arm refused the command (injected fault)")
        with self._physics:
            self._flow()
            if "deaf" not in faults:
                self._simulation.command(np.asarray(command[:3], np.float64), float(command[3]))

    def hold(self) -> None:
        """Freeze the joints."""
        with self._physics:
            self._simulation.freeze()

    def stop(self) -> None:
        """Freeze the joints; this arm has no brakes to close."""
        self.hold()

    def close(self) -> None:
        """Free the renderer."""
        self._connected = False
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    # ------------------------------------------------------------------ the scene

    def prepare(self, initial_state: int) -> None:
        """Start an episode of the task from the seed ``initial_state``."""
        self._simulation.start(ONE, [initial_state])
        self._cameras.reset()
        self._solved = False
        self._moved_to = self._began = self._stamp = self.clock.now()

    def wanted_views(self, initial_state: int) -> dict[str, np.ndarray]:
        """The scene of ``initial_state`` as the cameras would see it, without noise."""
        if self._renderer is None:
            return {}
        saved = self._simulation.state_dict()
        self._simulation.start(ONE, [initial_state])
        images = self._renderer.render(*self._simulation.drawn_state(0))
        self._simulation.load_state_dict(saved)
        return dict(zip(self.config.views, images, strict=True))

    def solved(self) -> bool:
        """Whether the task has been solved since the scene was prepared."""
        with self._physics:
            self._flow()
        return self._solved

    def signals(self) -> dict[str, float]:
        """The task's signals now, such as its true progress."""
        values = self._simulation.signals(self._simulation.scene())
        return {name: float(value[0]) for name, value in values.items()}

    # ------------------------------------------------------------------ inside

    def inject(self, faults: Sequence[Fault]) -> None:
        """Show these faults from the next reading on, and no others."""
        self.faults = list(faults)

    def _active(self) -> dict[str, Fault]:
        elapsed = self.clock.now() - self._began
        active = {fault.kind: fault for fault in self.faults if fault.active(elapsed)}
        if "lost_connection" in active:
            raise RobotError("the connection to the simulated arm is lost (injected fault)")
        return active

    def _check_connected(self) -> None:
        if not self._connected:
            raise RobotError("the simulated robot is not connected: call connect() first")

    def _flow(self) -> float:
        """Let physics catch up with the clock; the time it reached."""
        now = self.clock.now()
        steps = int((now - self._moved_to) / TIMESTEP + 1e-6)
        self._moved_to += steps * TIMESTEP
        # After a long silence only the last second is simulated: the arm rested long before.
        self._simulation.flow(min(steps, 200))
        if not self._solved:
            self._solved = bool(self.rules.success(self._simulation.scene())[0])
        return now

    def _state(self, faults: dict[str, Fault]) -> dict[str, np.ndarray]:
        simulation = self._simulation
        joints, force = simulation.joints, simulation.contact_force()
        if "encoder_noise" in faults:
            joints = joints + self._generator.normal(0, faults["encoder_noise"].size, joints.shape)
        if "joint_jump" in faults:
            joints[3] += faults["joint_jump"].size
        if "joint_error" in faults:
            joints[2] = np.nan
        if "force" in faults:
            force = faults["force"].size
        return {
            "state": simulation.observe(ONE)[0],
            "joints": joints,
            "tool": simulation.tool[0].copy(),
            "force": np.array([force]),
            "commanded": simulation.commanded,
        }
