"""The training loop: collect, reward, update, log, evaluate, checkpoint.

Everything that the next iteration depends on is in the checkpoint: parameters, optimiser,
generators, open episodes of the collector and of the reward, the environments' state, counters.
A run that is killed and resumed therefore ends with the same bits as one that was not (on a CPU,
with environments that can save their state).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

# The first optimiser imports torch._dynamo, and that import crashes the process (signal 11) when
# an EGL context already exists: import it before any environment renders.
import torch._dynamo  # noqa: F401

from robo.errors import RoboError
from robo.policies.actor_critic import ActorCritic
from robo.policies.checkpoint import Checkpoints, save_policy, start_from
from robo.policies.collector import Collector
from robo.policies.evaluate import evaluate, parse_seeds
from robo.policies.metrics import MetricsLog, episode_metrics, reward_metrics
from robo.policies.ppo import PPO
from robo.policies.run_folder import RunFolder
from robo.policies.threads import set_threads
from robo.policies.train_config import NOT_COMPARED, TrainConfig, check_parts
from robo.rewards.base import Reward
from robo.rollout import RewardTerms, Rollout
from robo.sim.contract import VectorEnvironment
from robo.storage import plain

RECENT = 100
"""Episodes behind the "recent" success rate and return."""


@dataclass
class Iteration:
    """What a callback sees after each update."""

    trainer: Trainer
    """The run itself."""
    rollout: Rollout
    """Rollout of this iteration."""
    terms: RewardTerms
    """Its rewards."""
    metrics: dict[str, float]
    """Every number logged."""
    step: int
    """Environment steps so far."""


class Callback(Protocol):
    """Called after each iteration; it must not touch the run's generators or environments."""

    def __call__(self, iteration: Iteration) -> None:
        """See :class:`Iteration`."""
        ...


class Trainer:
    """One run: its parts, its counters, its loop.

    Args:
        config: of the run.
        env: ``config.num_envs`` environments.
        reward: a function of whole rollouts.
        out: run folder.
        evaluate_env: environments of the evaluations, other than ``env``; None makes them when
            they are first needed.
        callbacks: see :class:`Callback`.
        show: False hides the progress display.

    Raises:
        RoboError: where reward, learner and environment do not fit together.
    """

    def __init__(
        self,
        config: TrainConfig,
        env: VectorEnvironment,
        reward: Reward,
        out: Path,
        evaluate_env: VectorEnvironment | None = None,
        callbacks: Sequence[Callback] = (),
        show: bool = True,
    ) -> None:
        """See the class."""
        check_parts(config, env, reward)
        set_threads(config.threads)
        self.config, self.env, self.reward = config, env, reward
        self.evaluate_env, self.callbacks, self.show = evaluate_env, tuple(callbacks), show
        self.folder = RunFolder(Path(out))
        compared = {k: v for k, v in plain(config).items() if k not in NOT_COMPARED}
        self.checkpoints = Checkpoints(
            self.folder.checkpoints, compared, keep=config.keep_checkpoints
        )
        self.evaluate_seeds = parse_seeds(config.evaluate_seeds)
        self.actor_critic = ActorCritic(
            env.single_observation_space,  # type: ignore[arg-type]
            env.single_action_space,
            config.network,
            critic_feature_dim=reward.critic_feature_dim,
            seed=config.seed,
        )
        if config.start_from is not None:
            start_from(self.actor_critic, config.start_from)
        self.ppo = PPO(config.ppo, self.actor_critic, seed=config.seed)
        self.collector = Collector(
            env, self.actor_critic, config.steps_per_rollout, config.seed, reward.camera
        )
        self.iteration = 0
        self.step = 0
        self.seconds = 0.0
        self.next_evaluation = config.evaluate_every_steps
        self.best: dict[str, Any] | None = None
        self.last_evaluation: dict[str, Any] | None = None
        self.stopped = False
        self.recent: deque[tuple[bool, float, int]] = deque(maxlen=RECENT)

    def run(self, resume: bool = False) -> dict[str, Any]:
        """Train to the end and save the policy.

        Args:
            resume: go on from the newest readable checkpoint.

        Returns:
            ``steps``, ``iterations``, ``wall_seconds``, ``success`` (of the best policy on the
            seeds that selected it, hence optimistic; None without evaluations),
            ``success_recent`` and ``return_recent`` (over the last episodes of training),
            ``evaluation`` (the last one), ``best``, ``stopped_early``, ``timeout``, ``gamma``,
            ``backend``, ``exact_resume``, ``policy`` (folder).

        Raises:
            RoboError: an earlier run in the folder without ``resume``, checkpoints damaged or of
                another configuration, a diverged update, full disk.
        """
        if resume:
            self.load_state_dict(self.checkpoints.latest())
        elif self.checkpoints.paths():
            raise RoboError(
                f"{self.folder.root} already holds checkpoints of a run; go on with it by "
                "--resume or choose another --out"
            )
        with MetricsLog(
            self.folder.metrics, self.config.total_steps, self.step, show=self.show
        ) as log:
            while self.step < self.config.total_steps and not self.stopped:
                self._iterate(log)
        save_policy(self.actor_critic, self.folder.policy)
        return self.result()

    def _iterate(self, log: MetricsLog) -> None:
        start = time.perf_counter()
        rollout = self.collector.collect()
        collected = time.perf_counter()
        terms = self.reward(rollout)
        rewarded = time.perf_counter()
        rewards = reward_metrics(rollout, terms)
        metrics = self.ppo.update(rollout, terms, 1.0 - self.step / self.config.total_steps)
        updated = time.perf_counter()
        self._count(rollout)
        metrics = {
            **episode_metrics(self.collector.finished, self.recent),
            **rewards,
            **{f"ppo/{name}": value for name, value in metrics.items()},
            "time/collect": collected - start,
            "time/reward": rewarded - collected,
            "time/update": updated - rewarded,
            "time/steps_per_second": rollout.shape[0] * rollout.shape[1] / (updated - start),
        }
        log.scalars(self.step, metrics)
        log.show(self.step, metrics["time/steps_per_second"], metrics)
        for callback in self.callbacks:
            callback(Iteration(self, rollout, terms, metrics, self.step))
        last = self.step >= self.config.total_steps
        if self.config.evaluate_every_steps and (last or self.step >= self.next_evaluation):
            self._evaluate(log)
        self.seconds += time.perf_counter() - start
        # After the evaluation: a run killed in between repeats both, and comes to the same.
        if last or self.stopped or self.iteration % self.config.checkpoint_every_iterations == 0:
            self.checkpoints.save(self.state_dict(), self.iteration)

    def _count(self, rollout: Rollout) -> None:
        self.iteration += 1
        steps, envs = rollout.shape
        self.step += steps * envs if rollout.valid is None else int(rollout.valid.sum())
        for episode in self.collector.finished:
            self.recent.append((episode.success, float(episode.env_return), int(episode.length)))

    def _evaluate(self, log: MetricsLog) -> None:
        """Score the policy on the selection seeds; keep it if it is the best so far."""
        while self.next_evaluation <= self.step:
            self.next_evaluation += self.config.evaluate_every_steps
        score = evaluate(self.actor_critic, self._evaluation_env(), self.evaluate_seeds)
        score.pop("outcomes")
        score["step"] = self.step
        self.last_evaluation = score
        log.scalars(self.step, {f"evaluation/{name}": value for name, value in score.items()})
        log.say(
            f"step {self.step:,}: success {score['success_rate']:.0%} of {score['episodes']} "
            f"selection seeds, mean return {score['mean_return']:.4g}"
        )
        if self.best is None or _rank(score) >= _rank(self.best):
            self.best = score
            save_policy(self.actor_critic, self.folder.best)
        self.stopped = self._reached_target()

    def _reached_target(self) -> bool:
        target, score = self.config.stop_success, self.last_evaluation
        return target is not None and score is not None and score["success_rate"] >= target

    def _evaluation_env(self) -> VectorEnvironment:
        if self.evaluate_env is None:
            from robo.sim.registry import make_vec

            count = min(self.config.num_envs, len(self.evaluate_seeds))
            self.evaluate_env = make_vec(self.config.task, count, backend=self.config.backend)
        return self.evaluate_env

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next iteration depends on."""
        return {
            "actor_critic": self.actor_critic.state_dict(),
            "ppo": self.ppo.state_dict(),
            "collector": self.collector.state_dict(),
            "reward": self.reward.state_dict(),
            "iteration": self.iteration,
            "step": self.step,
            "seconds": self.seconds,
            "next_evaluation": self.next_evaluation,
            "best": self.best,
            "last_evaluation": self.last_evaluation,
            "recent": list(self.recent),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.actor_critic.load_state_dict(state["actor_critic"])
        self.ppo.load_state_dict(state["ppo"])
        self.reward.load_state_dict(state["reward"])
        self.collector.load_state_dict(state["collector"])
        self.iteration, self.step = state["iteration"], state["step"]
        self.seconds, self.next_evaluation = state["seconds"], state["next_evaluation"]
        self.best, self.last_evaluation = state["best"], state["last_evaluation"]
        self.stopped = self._reached_target()
        self.recent = deque((tuple(entry) for entry in state["recent"]), maxlen=RECENT)

    def close(self) -> None:
        """Close the environments."""
        self.env.close()
        if self.evaluate_env is not None:
            self.evaluate_env.close()

    def result(self) -> dict[str, Any]:
        """What the run came to; see :meth:`run`."""
        successes = [success for success, _, _ in self.recent]
        returns = [value for _, value, _ in self.recent]
        return {
            "task": self.config.task,
            "backend": self.env.backend,
            "exact_resume": self.collector.exact_resume,
            "steps": self.step,
            "iterations": self.iteration,
            "wall_seconds": round(self.seconds, 3),
            "success": None if self.best is None else self.best["success_rate"],
            "success_recent": sum(successes) / len(successes) if successes else None,
            "return_recent": sum(returns) / len(returns) if returns else None,
            "evaluation": self.last_evaluation,
            "best": self.best,
            "selection_seeds": self.config.evaluate_seeds,
            "stopped_early": self.stopped,
            "timeout": self.config.ppo.timeout,
            "gamma": self.config.ppo.gamma,
            "policy": str(self.folder.best if self.best is not None else self.folder.policy),
        }


def _rank(score: dict[str, Any]) -> tuple[float, float]:
    """Order of evaluations: success first, the environment's own return where it ties."""
    return score["success_rate"], score["mean_return"]


def make_trainer(
    config: TrainConfig, out: Path, callbacks: Sequence[Callback] = (), show: bool = True
) -> Trainer:
    """The run that a configuration describes, with its environments and its reward.

    Raises:
        RoboError: unknown task, missing extra, parts that do not fit together.
    """
    from robo.rewards.config import make_reward
    from robo.sim.registry import make_vec

    reward = make_reward(config.reward, config.ppo.gamma, config.ppo.timeout)
    env = make_vec(config.task, config.num_envs, backend=config.backend)
    try:
        return Trainer(config, env, reward, out, callbacks=callbacks, show=show)
    except BaseException:
        env.close()
        raise
