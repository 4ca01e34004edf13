"""Driving as a gymnasium environment, over the public CARLA client API only."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from robo.errors import RoboError
from robo.rollout import CameraSchedule, EpisodeInfo
from robo.sim.carla.cameras import ROLES
from robo.sim.carla.claims import ServerClaim
from robo.sim.carla.client import Connection
from robo.sim.carla.leftovers import clear_leftovers
from robo.sim.carla.observation import observation_space
from robo.sim.carla.options import STEP_SECONDS, DrivingOptions, ServerOptions
from robo.sim.carla.population import check_process, is_spent
from robo.sim.carla.route_sources import random_route, read_routes, route_through
from robo.sim.carla.routes import Route
from robo.sim.carla.session import Session
from robo.sim.carla.signals import SIGNAL_NAMES, SignalStep, without_a_step
from robo.sim.carla.supervisor import ServerLostError, Supervisor
from robo.sim.contract import Environment
from robo.sim.vector import check_schedule

_ATTEMPTS = 3
"""Servers that may be lost in one reset before it is given up."""
REAL_START_DELAY = 20
"""Ticks with the brake on where a car falls to the road first; CaRL's."""


class DrivingEnvironment(Environment):
    """Drive a route through a town, 10 Hz, one server per environment.

    * Observation: ``state`` float32 ``[8 + 2 route_points]``, ``birdseye`` uint8 ``[10, H, W]``
      and, for the critic alone, ``critic_state`` float32 ``[10]``; see
      :mod:`robo.sim.carla.observation`.
    * Action: ``Box(-1, 1, (2,))``: steering (right positive), and throttle (positive) or brake.
    * Reward: share of the route driven in this step, which adds up to 1 over a whole route.
    * Success, which terminates: the route is finished. A collision, being blocked and leaving the
      route terminate; a red light and a stop sign do unless ``end_on_infraction`` is off; the
      time limit truncates.
    * ``info["route"]`` of an episode's last step: what the route score is made of.

    A server that dies or falls silent ends the episode as truncated, with the last observation and
    state once more and ``info["server_lost"]``; ``reset`` goes on with a new server. Given a seed,
    episodes on the stand-in are equal bit for bit, whatever happened before.
    """

    cameras = ROLES
    signal_names = SIGNAL_NAMES
    metadata: ClassVar[dict[str, Any]] = {"render_modes": [], "render_fps": 10}

    def __init__(
        self,
        task: str,
        town: str | None,
        supervisor: Supervisor | None,
        server: ServerOptions,
        driving: DrivingOptions,
        standin: bool = True,
    ) -> None:
        """Nothing is started or connected before the first ``reset``.

        Args:
            task: registry id.
            town: the map that must run on the server; None takes the server's.
            supervisor: starts our own servers; None uses the one at host and port.
            server: see :class:`ServerOptions`.
            driving: see :class:`DrivingOptions`.
            standin: the server is our own, where cars need not fall to the road first.
        """
        self.task, self.instruction = task, "drive the route to its end"
        self.max_episode_steps = driving.max_steps
        self.observation_space = observation_space(driving.birdseye_size, driving.route_points)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.driving, self.server = driving, server
        self._town, self._supervisor = town, supervisor
        self._standin = standin
        delay = driving.start_delay_frames
        self._wait = (0 if standin else REAL_START_DELAY) if delay is None else delay
        self._session: Session | None = None
        self._claim: ServerClaim | None = None
        self._schedule: CameraSchedule | None = None
        self._pending: CameraSchedule | None = None
        self._file_routes: list[np.ndarray] | None = None
        self._elapsed, self._over = 0, True
        self._seed: int | None = None
        self._route_index: int | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode.

        Args:
            seed: decides route and traffic; None goes on with the environment's generator.
            options: ``{"route": index}`` picks a route of ``route_file``.

        Raises:
            RoboError: no server, a wrong one, or no route; the sentence says which.
        """
        super().reset(seed=seed)
        episode_seed = int(self.np_random.integers(2**31))
        self._seed = seed  # one that was drawn does not draw itself again
        if self._supervisor is not None and self._supervisor.spent:
            self._drop(replace=True, answering=self._supervisor.alive())
        for attempt in range(_ATTEMPTS):
            try:
                generator = np.random.default_rng(episode_seed)
                self._begin(generator, options or {})
                break
            except ServerLostError:
                self._drop(replace=attempt < _ATTEMPTS - 1)
                check_process()
                if attempt == _ATTEMPTS - 1:
                    raise
        if self._supervisor is not None:
            self._supervisor.count_episode()
        self._elapsed, self._over = 0, False
        self._last_signals = without_a_step()
        info: dict[str, Any] = {
            "instruction": self.instruction,
            "initial_state": self._route_index,
        }
        if self._schedule is not None:
            info["frames"] = self._frames
        return self._observation, info

    def _begin(self, generator: np.random.Generator, options: dict[str, Any]) -> None:
        """Start an episode on the running server, or on a new one."""
        if self._supervisor is not None and self._session and not self._supervisor.alive():
            raise ServerLostError(f"the server of {self.task} ended")
        new = self._session is None or self._schedule != self._pending
        session = self._connected()
        self._schedule = self._pending
        # With the client's TrafficManager a silent server is the watch's business from the start.
        patient = new and not self.server.traffic_manager
        with session.connection.patience() if patient else nullcontext():
            session.show(self._schedule, self.driving.poses)
            route = self._draw_route(session, generator, options)
            session.begin(route, generator, self._wait)
        self._observation = session.observation()
        if self._schedule is not None and session.cameras is not None:
            self._frames = session.cameras.frames(session.connection.frame)

    def _connected(self) -> Session:
        if self._session is None:
            check_process()
            host, port, traffic_port = self.server.host, self.server.port, None
            if self._supervisor is not None:
                running = self._supervisor.server()
                host, port, traffic_port = running.host, running.port, running.traffic_port
            else:
                assert port is not None
                if self._claim is None:
                    self._claim = ServerClaim(host, port, self.server.port_block)
                port = self._claim.port
            connection = Connection(
                host, port, self._town, self.server.start_timeout, self.server.tick_timeout
            )
            managed = (traffic_port or port + 5) if self.server.traffic_manager else None
            if self._supervisor is None:
                clear_leftovers(connection)
            with nullcontext() if managed else connection.patience():
                self._session = Session(connection, self.driving, managed, not self._standin)
        return self._session

    def _draw_route(
        self, session: Session, generator: np.random.Generator, options: dict[str, Any]
    ) -> Route:
        driving, map = self.driving, session.connection.map
        if driving.route_file is None:
            self._route_index = None
            return random_route(map, generator, driving.route_min_length, driving.route_max_length)
        town = map.name.split("/")[-1]
        if self._file_routes is None:
            found = read_routes(driving.route_file)
            self._file_routes = [item.waypoints for item in found if item.town in ("", town)]
        routes = self._file_routes
        if not routes:
            raise RoboError(f"{driving.route_file} holds no route through {town}")
        index = options.get("route", int(generator.integers(len(routes))))
        if not 0 <= index < len(routes):
            raise RoboError(
                f"route {index} does not exist; {driving.route_file} holds {len(routes)} routes "
                f"through {town}"
            )
        self._route_index = int(index)
        return route_through(map, routes[index])

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Drive for 0.1 s.

        Args:
            action: ``[2]``: steering, and throttle or brake; clipped to [-1, 1].

        Raises:
            RoboError: the episode is over, or the action is not two finite numbers.
        """
        if self._over:
            raise RoboError(f"{self.task}: the episode is over, call reset() before step()")
        action = np.asarray(action, np.float64)
        if action.shape != (2,) or not np.isfinite(action).all():
            raise RoboError(f"{self.task}: action is {action}, expected two finite numbers")
        steer, push = np.clip(action, -1.0, 1.0).tolist()
        session = self._session
        assert session is not None
        try:
            if self._supervisor is not None and not self._supervisor.alive():
                raise ServerLostError(f"the server of {self.task} ended")
            session.step(steer, max(push, 0.0), max(-push, 0.0))
            self._elapsed += 1
            signal = session.judge()
            self._observation = session.observation()
            return self._result(session, signal)
        except ServerLostError as error:
            return self._lost(str(error))

    def _result(
        self, session: Session, signal: SignalStep
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        terminated, truncated = self._ending(signal)
        info: dict[str, Any] = {
            "success": signal.finished and not signal.ended_by,
            "signals": signal.signals,
        }
        self._over = terminated or truncated
        if self._over:
            info["route"] = session.summary()
        schedule, cameras = self._schedule, session.cameras
        due = schedule is not None and (self._over or self._elapsed % schedule.stride == 0)
        if due and cameras is not None:
            self._frames = info["frames"] = cameras.frames(session.connection.frame)
        self._last_signals = signal.signals
        reward = signal.signals["delta_route_completion"] / 100.0
        return self._observation, reward, terminated, truncated, info

    def _ending(self, signal: SignalStep) -> tuple[bool, bool]:
        """(terminated, truncated); never both."""
        late = self._elapsed >= self.driving.max_steps
        failed = bool(signal.ended_by) and (
            self.driving.end_on_infraction or signal.ended_by not in ("red_light", "stop_sign")
        )
        if self.driving.paper_flags:
            terminated = failed or (late and not signal.finished)
            return terminated, signal.finished and not terminated
        terminated = failed or signal.finished
        return terminated, late and not terminated

    def _lost(self, reason: str) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """The last observation once more, truncated; the next server starts meanwhile."""
        self._over = True
        info: dict[str, Any] = {
            "success": False,
            # The route that was driven counts, and rewards meet no car at a gap of 0 m.
            "signals": without_a_step(self._last_signals),
            "server_lost": True,
            "reason": reason,
        }
        assert self._session is not None
        info["route"] = self._session.summary()
        if self._schedule is not None:
            info["frames"] = self._frames
        self._drop(replace=True)
        return self._observation, 0.0, False, True, info

    def _drop(self, replace: bool, answering: bool = False) -> None:
        """Leave the session; ``replace`` also ends our server and starts the next one."""
        if self._session is not None:
            self._session.close(answering)
            self._session = None
        if self._supervisor is not None:
            if replace and not is_spent():
                self._supervisor.replace()
            else:
                self._supervisor.close()

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        """Render ``schedule`` from the next reset on; None stops at once.

        Raises:
            RoboError: a view that does not exist, or a server that is started without graphics.
        """
        check_schedule(self.task, self.cameras, schedule)
        blind = not (self._standin or self.server.rendering) and self._supervisor is not None
        if schedule is not None and blind:
            raise RoboError(
                f"{self.task} starts CARLA without graphics (rendering=False), so that it has no "
                "cameras; add rendering=True"
            )
        self._pending = schedule
        if schedule is None:
            self._schedule = None

    def episode_info(self) -> EpisodeInfo:
        """Task, the seed that was given, and which route of the route file is driven."""
        return EpisodeInfo(
            self.task, self.instruction, initial_state=self._route_index, seed=self._seed
        )

    @property
    def server_restarts(self) -> int:
        """How often a server of ours was replaced."""
        return self._supervisor.restarts if self._supervisor is not None else 0

    @property
    def seconds(self) -> float:
        """Driven time of the episode."""
        return self._elapsed * STEP_SECONDS

    def close(self) -> None:
        """Leave the server, and end it if it is ours."""
        if self._session is not None:
            self._session.close(answering=self._supervisor is None or self._supervisor.alive())
            self._session = None
        if self._claim is not None:
            self._claim.release()
            self._claim = None
        if self._supervisor is not None:
            self._supervisor.close()
