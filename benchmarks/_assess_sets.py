"""Episodes of three simulators on which all rewards are assessed, and who acts in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _lift_sets import SmoothMotion

VIEWS_ARM = ("front", "side", "wrist")
SIZE, STRIDE = 64, 5


@dataclass(frozen=True)
class Simulator:
    """One simulator of the table."""

    tasks: tuple[str, ...]
    """Tasks, each with its own demonstrations and failures; the reward model is of the first."""
    views: tuple[str, ...] = VIEWS_ARM
    """Cameras that are recorded."""
    progress: str | None = None
    """Signal of true progress in [0, 1]; None where there is none."""
    graded: bool = True
    """Whether that signal takes values between 0 and 1: one that does not is the success itself,
    and raw progress of it no naive reward."""
    failures: tuple[str, ...] = ()
    """Names of failing actors, see :func:`make_actor`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the environment."""
    num_envs: int = 1
    """Environments stepped together."""


SIMULATORS = {
    "mujoco": Simulator(
        tasks=("mujoco/Lift",),
        progress="progress",
        failures=("script beside", "script closed", "script hover", "script drop", "wander"),
        num_envs=8,
    ),
    "libero": Simulator(
        tasks=("libero/libero_object/0",),
        progress="goal_fraction",
        graded=False,  # its goal is one predicate
        failures=("lazy 0.4", "lazy 0.7", "wander"),
    ),
    "carla-standin": Simulator(
        tasks=("carla-standin/Grid",),
        views=("front", "bird"),
        failures=("reckless", "drift", "lazy 0.5"),
        options={
            "route_min_length": 60.0,
            "route_max_length": 110.0,
            "route_outside_junctions": True,
            "vehicles": 8,
            "pedestrians": 0,
            "birdseye_size": 64,
            "pixels_per_metre": 1.0,
            "metres_behind": 16.0,
            "time_limit": 40.0,
            "start_timeout": 300.0,  # on a busy machine
            "tick_timeout": 60.0,
        },
    ),
}
"""By name, as in the table."""


class RouteDriver:
    """Follows the route in the bird's-eye view at a steady speed, and stops where it must.

    ``reckless`` drives twice as fast and sees neither lights nor signs; ``drift`` steers off.
    """

    def __init__(self, style: str = "driver") -> None:
        """``style`` is driver, reckless or drift."""
        self.style = style
        self.speed = 12.0 if style == "reckless" else 6.0

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """Steering, and throttle or brake, float32 ``[N, 2]``."""
        pairs = zip(observation["birdseye"], observation["state"], strict=True)
        return np.array([self._drive(raster, state) for raster, state in pairs], np.float32)

    def _drive(self, raster: np.ndarray, state: np.ndarray) -> tuple[float, float]:
        height, width = raster.shape[1:]
        row, column = height - 16, width / 2 - 0.5  # where the car is: 16 m from the lower edge
        ahead = raster[1, row - 9 : row - 4] > 0  # route, 5 to 9 m ahead
        places = np.nonzero(ahead)[1]
        aside = float(places.mean() - column) if len(places) else 0.0
        steer = float(np.clip(0.9 * np.arctan2(aside, 7.0), -1, 1))
        if self.style == "drift":
            steer = float(np.clip(steer + 0.12, -1, 1))
        wanted = self.speed
        lane = slice(int(column) - 1, int(column) + 3)
        lights, signs = raster[5, row - 12 : row - 2, lane], raster[6, row - 8 : row, lane]
        cars = raster[3, row - 12 : row - 3, lane]
        halt = (lights >= 170).any() or (signs > 0).any() or (cars > 0).any()
        if halt and self.style != "reckless":
            wanted = 0.0
        pedal = float(np.clip(0.4 * (wanted - float(state[4])), -1, 1))
        return steer, pedal

    def metadata(self, env: int) -> dict[str, Any]:
        """What acted, and about how far it gets (a label for fitting, chosen by eye)."""
        return {"actor": self.style, "progress_ceiling": 0.5}


class Lazy:
    """Another actor that stops acting after a number of steps."""

    def __init__(self, actor: Any, share: float, usual: int, still: np.ndarray) -> None:
        """Stop after ``share`` of the ``usual`` steps; ``still`` is the action then, ``[A]``."""
        self.actor, self.share, self.still = actor, share, still
        self.steps = max(1, int(share * usual))
        self.count = np.zeros(0, np.int64)

    def reset(self, num_envs: int) -> None:
        """Begin anew."""
        self.count = np.zeros(num_envs, np.int64)
        if hasattr(self.actor, "reset"):
            self.actor.reset(num_envs)

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """The actor's actions, or the still one."""
        self.count = np.where(started, 0, self.count + 1)
        action = np.array(self.actor(observation, started))
        action[self.count >= self.steps] = self.still
        return action

    def metadata(self, env: int) -> dict[str, Any]:
        """What acted, and about how far it gets."""
        return {"actor": f"stops at {self.share:.0%}", "progress_ceiling": 0.9 * self.share}


class Wanderer(SmoothMotion):
    """Smooth random motion in any number of dimensions."""

    def __init__(self, dimensions: int, seed: int) -> None:
        """``dimensions`` of the action."""
        super().__init__(seed)
        self.dimensions = dimensions

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """Actions float32 ``[N, A]``."""
        noise = 0.7 * self.generator.normal(size=(len(started), self.dimensions))
        fresh = started[:, None] if self.action is not None else np.ones((len(started), 1), bool)
        before = noise if self.action is None else self.action
        moved = self.memory * before + np.sqrt(1 - self.memory**2) * noise
        self.action = np.where(fresh, noise, moved)
        return np.clip(self.action, -1, 1).astype(np.float32)

    def metadata(self, env: int) -> dict[str, Any]:
        """What acted, and about how far it gets."""
        return {"actor": "wanderer", "progress_ceiling": 0.1}


def make_actor(name: str, task: str, seed: int, usual: int, dimensions: int) -> Any:
    """``expert``, ``script NAME``, ``wander``, ``lazy SHARE``, ``reckless`` or ``drift``.

    Args:
        name: of the actor, and its argument.
        task: registry id.
        seed: of its noise.
        usual: steps that the expert takes, of which ``lazy`` does a share.
        dimensions: of the action.
    """
    from robo.sim.experts import make_expert
    from robo.sim.mujoco.expert import CLEAN, ExpertStyle

    kind, _, argument = name.partition(" ")
    if kind in ("reckless", "drift"):
        return RouteDriver(kind)
    if kind == "wander":
        return Wanderer(dimensions, seed)
    if kind == "lazy":
        expert = make_actor("expert", task, seed, usual, dimensions)
        still = np.zeros(dimensions, np.float32)
        if task.startswith("carla"):
            still[1] = -1.0
        return Lazy(expert, float(argument), usual, still)
    if task.startswith("carla"):
        return RouteDriver()
    style = ExpertStyle() if task.startswith("mujoco") else CLEAN
    return make_expert(task, style, seed, argument or "expert")


def record(
    simulator: Simulator, folder: Path, successes: int, failures: int, seed: int
) -> dict[str, Any]:
    """Record a store of ``successes`` and ``failures`` per task in ``folder``.

    Returns:
        ``store`` (folder), ``episodes`` (count per actor).

    Raises:
        RoboError: an actor hardly ever ends as it should.
    """
    import torch._dynamo  # noqa: F401  (before the cameras' GL context)

    from robo.data import EpisodeStore
    from robo.sim.registry import make_vec

    counts: dict[str, int] = {}
    with EpisodeStore(folder / "episodes") as store:
        for task in simulator.tasks:
            env = make_vec(task, simulator.num_envs, **simulator.options)
            try:
                dimensions = int(env.single_action_space.shape[0])  # type: ignore[index]
                lengths: list[int] = []
                for name, count, wanted in parts(simulator, successes, failures):
                    usual = int(np.median(lengths)) if lengths else 1
                    actor = make_actor(name, task, seed, usual, dimensions)
                    for episode in fitting(env, actor, simulator, seed, count, wanted, name):
                        store.append(episode)
                        lengths += [len(episode)] if episode.success else []
                        kind = str(episode.metadata.get("actor", name))
                        counts[kind] = counts.get(kind, 0) + 1
                    seed += 5_000
            finally:
                env.close()
    return {"store": str(folder / "episodes"), "episodes": counts}


def parts(simulator: Simulator, successes: int, failures: int) -> list[tuple[str, int, bool]]:
    """Actor, episodes and outcome of each part of a store."""
    names = simulator.failures
    shares = [failures // len(names) + (i < failures % len(names)) for i in range(len(names))]
    return [
        ("expert", successes, True),
        *((name, count, False) for name, count in zip(names, shares, strict=True) if count),
    ]


def fitting(
    env: Any,
    actor: Any,
    simulator: Simulator,
    seed: int,
    count: int,
    wanted: bool,
    name: str,
) -> Iterator[Any]:
    """``count`` episodes of the wanted outcome.

    Raises:
        RoboError: fewer in ten times as many attempts.
    """
    from robo.errors import RoboError
    from robo.policies.recorder import stream_episodes
    from robo.rollout import CameraSchedule

    camera = CameraSchedule(simulator.views, SIZE, SIZE, STRIDE)
    attempts = range(seed, seed + 10 * count + 10)
    kept = 0
    for episode in stream_episodes(env, actor, attempts, camera, keep_observations=False):
        if episode.success == wanted and kept < count:
            kept += 1
            yield episode
        if kept == count:
            return
    raise RoboError(
        f"{name} of {env.task} gave {kept} episodes that end in "
        f"{'success' if wanted else 'failure'} in {len(attempts)} attempts, {count} were wanted"
    )


def captions_of(name: str) -> Any:
    """What frames of a simulator are called, for its image-text model."""
    from robo.rewards.captions import CaptionSet, Scene, caption_set

    if name in ("mujoco", "carla-standin"):
        return caption_set("lifting" if name == "mujoco" else "driving")
    return CaptionSet(
        name="placing",
        signals=("goal_fraction", "gripper_distance"),
        scenes=(
            Scene(
                "placed",
                lambda signals: signals["goal_fraction"] >= 1,
                (
                    "the {soup|can|object} {is|lies|stands} in the {basket|box}",
                    "the {task|job} is {done|solved}",
                    "the {robot|gripper} has put the {soup|can|object} into the {basket|box}",
                ),
                ("the robot has put an object into a basket",),
            ),
            Scene(
                "far",
                lambda signals: (
                    (signals["goal_fraction"] < 1) & (signals["gripper_distance"] > 0.1)
                ),
                (
                    "the {robot|gripper} is {far|away} from the {soup|can|object}",
                    "the {soup|can|object} {lies|stands|is} on the {floor|table}",
                    "the {basket|box} is {empty|without the soup}",
                ),
                ("an object stands on the floor, the basket is empty",),
            ),
            Scene(
                "carried",
                lambda signals: (
                    (signals["goal_fraction"] < 1) & (signals["gripper_distance"] < 0.06)
                ),
                (
                    "the {robot|gripper} {holds|carries|has} the {soup|can|object}",
                    "the {soup|can|object} is in the {gripper|hand}",
                ),
            ),
        ),
        positive="placed",
        negative="far",
    )


def rewards_of(name: str, grm: str, clip: str) -> dict[str, str]:
    """Every reward of robo, as the table names it, to its text for robo assess.

    Args:
        name: of the simulator.
        grm: folder of its reward model.
        clip: folder of its image-text model.
    """
    from robo.rewards.language_fitted import fitted_contrast

    simulator, captions = SIMULATORS[name], captions_of(name)
    positive, negative = (
        next(text for text in captions.scenes[captions.index(scene)].wording if "," not in text)
        for scene in (captions.positive, captions.negative)
    )
    driving = name == "carla-standin"
    # A store without a scene of either goal gives no bounds: then those of the released code hold.
    preset = "released" if fitted_contrast(clip) is None else "fitted"
    options = {
        "language.preset": preset,
        "language.positive": positive,
        "language.negative": negative,
        "language.image.view": captions.view,
        "language.image.crop": ":".join(map(str, captions.crop)),
        "language.image.height": SIZE,
        "language.image.width": SIZE,
        "language.form": "driving" if driving else "manipulation",
        "language.state_term": "" if driving else "success",
    }
    given = (f"{option}={value}" for option, value in options.items() if value != "")
    language = ",".join((f"language_goal:{clip}", *given))
    srpo = f"srpo,srpo.views={simulator.views[0]},srpo.size={SIZE}"
    found = {
        "success": "success",
        "GRM, shaped": f"grm:{grm}",
        "language goal": language,
        "SRPO": srpo,
        "route completion": "route_completion",
        "naive, GRM": f"naive:{grm}",
        "plain difference, GRM": f"difference:{grm}",
    }
    if simulator.progress:
        found["route completion"] = f"route_completion:{simulator.progress}"
    if simulator.progress and simulator.graded:
        found["naive, true progress"] = f"naive:{simulator.progress}"
    return found
