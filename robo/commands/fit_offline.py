"""``robo fit offline``: a policy from stored episodes, weighted by the progress they made."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from robo.errors import RoboError

if TYPE_CHECKING:
    from robo.data import EpisodeStore
    from robo.policies.actor_critic import ActorCritic


@dataclass(frozen=True)
class OfflineConfig:
    """How progress weighs actions."""

    beta: float = 1.0
    """Temperature of the weights exp(A / beta); large: plain imitation of all episodes."""
    largest_weight: float = 20.0
    """Weights count up to this."""
    epochs: int = 100
    """Passes over all steps."""
    batch_size: int = 256
    """Steps per gradient."""
    learning_rate: float = 1e-3
    """Of Adam."""
    windows: int = 12
    """Growing videos per episode from which its progress is read."""


@dataclass(frozen=True)
class FitOffline:
    """Fit a policy to stored successes and failures, by advantage-weighted regression."""

    store: Path
    """Episodes of one task with states and camera frames: a store, or robo collect's run folder."""
    encoder: str
    """Video encoder that judges progress: a folder (robo fit video-encoder), vjepa2:ID,
    open_clip:MODEL:WEIGHTS, or pixels."""
    views: tuple[str, ...] = ("front",)
    """Camera roles; a fitted encoder has its own."""
    start_from: Path | None = None
    """Policy or run folder to improve (a cloned one, say); None: from scratch."""
    hidden: tuple[int, ...] = (64, 64)
    """Width of each hidden layer of a policy from scratch."""
    config: Annotated[OfflineConfig, tyro.conf.arg(name="")] = field(default_factory=OfflineConfig)
    """How progress weighs actions."""
    seed: int = 0
    """Decides initial parameters and the order of steps."""
    device: str = "cpu"
    """Torch device of the encoder."""
    out: Path = Path("runs/offline")
    """Run folder; the policy goes to its folder policy."""
    json: bool = False
    """Print the result as the last line."""

    def run(self) -> dict[str, Any]:
        """Judge progress, weigh, fit, save.

        Returns:
            ``policy`` (folder) and what
            :func:`robo.policies.advantage_weighted.advantage_weighted_regression` found.

        Raises:
            RoboError: episodes without frames or of several tasks, fewer than two successes.
        """
        from dataclasses import asdict

        from robo.data import open_store
        from robo.perception.video import load_video_encoder
        from robo.policies.advantage_weighted import AWRConfig, advantage_weighted_regression
        from robo.policies.run_folder import RunFolder

        settings = AWRConfig(**asdict(self.config))
        encoder = load_video_encoder(self.encoder, self.views, self.device)
        store = open_store(self.store)
        policy = self._policy(store)
        episodes = [store.read(index, encoder.views) for index in range(len(store))]
        found = advantage_weighted_regression(episodes, policy, encoder, settings, self.seed)
        folder = RunFolder(self.out).policy
        policy.save(folder)
        return {"policy": str(folder), **found}

    def _policy(self, store: EpisodeStore) -> ActorCritic:
        from robo.policies.actor_critic import ActorCritic
        from robo.policies.learner_config import NetworkConfig
        from robo.policies.policy_files import load_policy, make_policy
        from robo.policies.run_folder import find_policy
        from robo.sim.registry import make

        tasks = sorted({store.info(index).info.task for index in range(len(store))})
        if len(tasks) != 1:
            raise RoboError(
                f"the store {self.store} holds episodes of {tasks or 'no task'}; offline learning "
                "needs those of one task"
            )
        if self.start_from is not None:
            policy = load_policy(find_policy(self.start_from))
        else:
            env = make(tasks[0])
            network = NetworkConfig(hidden=self.hidden)
            policy = make_policy(env.observation_space, env.action_space, network, seed=self.seed)
            env.close()
        if not isinstance(policy, ActorCritic):
            raise RoboError(
                f"the policy in {self.start_from} is of kind {policy.config.kind!r}; offline "
                "learning fits policies over states (mlp)"
            )
        return policy
