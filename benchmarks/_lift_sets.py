"""Episodes of mujoco/Lift on which no GRM was fitted: the actors, and the sets they make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from _study import Run

from robo.errors import RoboError

if TYPE_CHECKING:
    from robo.data import EpisodeStore
    from robo.rollout import Episode

TASK, STRIDE, SIZE = "mujoco/Lift", 5, 64
VIEWS = ("front", "side", "wrist")
UNSEEN = ("above", "drop", "hover", "knock")
SEEN = ("beside", "closed", "open", "wander")


class SmoothMotion:
    """Actor that wanders: each action is mostly the one before (AR(1), stationary spread 0.7)."""

    def __init__(self, seed: int = 0, memory: float = 0.9) -> None:
        """``memory`` is the share of the previous action that stays."""
        self.generator, self.memory = np.random.default_rng(seed), memory
        self.action: np.ndarray | None = None

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """Actions float32 ``[N, 4]``."""
        noise = 0.7 * self.generator.normal(size=(len(started), 4))
        fresh = started[:, None] if self.action is not None else np.ones((len(started), 1), bool)
        before = noise if self.action is None else self.action
        moved = self.memory * before + np.sqrt(1 - self.memory**2) * noise
        self.action = np.where(fresh, noise, moved)
        return np.clip(self.action, -1, 1).astype(np.float32)

    def metadata(self, env: int) -> dict[str, Any]:
        """What acted."""
        return {"actor": "smooth motion"}


class NamedPolicy:
    """A policy that samples its actions and says what it is."""

    def __init__(self, folder: Path, seed: int) -> None:
        """Load the policy in ``folder``."""
        from robo.policies.actor_critic import ActorCritic
        from robo.policies.recorder import PolicyActor
        from robo.policies.run_folder import find_policy

        self.actor = PolicyActor(ActorCritic.load(find_policy(folder)), False, seed)

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """Sampled actions."""
        return self.actor(observation, started)

    def metadata(self, env: int) -> dict[str, Any]:
        """What acted."""
        return {"actor": "half-trained policy"}


class NoisyExpert:
    """The scripted expert with so much noise that it loses and regains progress."""

    def __init__(self, noise: float, seed: int) -> None:
        """``noise`` is the standard deviation of each action's noise."""
        from robo.sim.mujoco.expert import ExpertStyle, make_expert

        self.expert = make_expert(TASK, ExpertStyle(noise=noise), seed)
        self.reset = self.expert.reset

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """The expert's actions."""
        return self.expert(observation, started)

    def metadata(self, env: int) -> dict[str, Any]:
        """What acted."""
        return {"actor": "noisy expert"}


def record_set(run: Run, folder: Path) -> dict[str, Any]:
    """One episode store. Settings: parts (see :func:`parts_of`) and seed."""
    import torch._dynamo  # noqa: F401  (before the cameras' GL context)

    from robo.data import EpisodeStore
    from robo.sim.registry import make_vec

    counts: dict[str, int] = {}
    seed = run.settings["seed"]
    env = make_vec(TASK, 16, threads=1)
    try:
        with EpisodeStore(folder / "episodes") as store:
            for name, argument, wanted, count in run.settings["parts"]:
                actor = make_actor(name, argument, seed)
                tries = fitting(env, actor, seed, wanted, 20 * count + 200)
                kept = [store_one(store, episode, counts) for episode in islice(tries, count)]
                if len(kept) < count:
                    raise RoboError(
                        f"{name} {argument} gave {len(kept)} episodes of outcome {wanted}, not "
                        f"{count}; give other --policies or smaller sets"
                    )
                seed += 5_000
    finally:
        env.close()
    return {"store": str(folder / "episodes"), "episodes": counts}


def store_one(store: EpisodeStore, episode: Episode, counts: dict[str, int]) -> None:
    """Append an episode and count what acted in it."""
    store.append(episode)
    kind = str(episode.metadata["actor"])
    counts[kind] = counts.get(kind, 0) + 1


def make_actor(name: str, argument: str, seed: int) -> Any:
    """``script`` NAME, ``noisy`` NOISE, ``policy`` FOLDER or ``smooth``."""
    from robo.sim.mujoco.expert import ExpertStyle, make_expert

    if name == "script":
        return make_expert(TASK, ExpertStyle(), seed, argument)
    if name == "noisy":
        return NoisyExpert(float(argument), seed)
    return NamedPolicy(Path(argument), seed) if name == "policy" else SmoothMotion(seed)


def fitting(env: Any, actor: Any, seed: int, wanted: str, attempts: int) -> Iterator[Episode]:
    """Episodes whose outcome is ``wanted`` (success, failure, any), at most ``attempts`` tried."""
    from robo.policies.recorder import stream_episodes
    from robo.rollout import CameraSchedule

    camera = CameraSchedule(VIEWS, SIZE, SIZE, STRIDE)
    for episode in stream_episodes(env, actor, range(seed, seed + attempts), camera, False):
        if wanted == "any" or episode.success == (wanted == "success"):
            yield episode


def shares(names: Iterable[str], total: int) -> list[tuple[str, int]]:
    """``total`` split as evenly as it goes."""
    listed = list(names)
    return [
        (name, total // len(listed) + (i < total % len(listed))) for i, name in enumerate(listed)
    ]


def parts_of(
    demos: int, failures: int, off_demo: int, policies: list[str]
) -> dict[str, list[tuple[str, str, str, int]]]:
    """Name of each set, of so many episodes, to its parts: (actor, argument, outcome, count)."""
    half, quarter = failures // 2, failures // 4
    share = off_demo // 4
    return {
        "demos": [("script", "expert", "success", demos)],
        "failures": [
            *(("script", name, "failure", n) for name, n in shares(UNSEEN, half)),
            *(("script", name, "failure", n) for name, n in shares(SEEN, quarter)),
            *(("policy", name, "failure", n) for name, n in shares(policies, quarter)),
        ],
        "off_demo": [
            ("smooth", "", "any", share),
            *(("policy", name, "any", n) for name, n in shares(policies, share)),
            *(("script", name, "failure", n) for name, n in shares((*UNSEEN, *SEEN), share)),
            ("noisy", "0.9", "any", share),
        ],
    }
