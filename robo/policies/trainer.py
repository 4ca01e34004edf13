"""The training loop: collect, reward, update, log, evaluate, checkpoint.

Everything that the next iteration depends on is in the checkpoint: parameters, optimiser,
generators, open episodes of the collector and of the reward, the environments' state, counters.
A run that is killed and resumed therefore ends with the same bits as one that was not (on a CPU,
with environments that can save their state).

Under torchrun every rank runs this loop on its own part of the environments
(``robo.policies.distributed``); only rank 0 writes files. A checkpoint holds the parts of all
ranks, and may be resumed by another number of them.
"""

from __future__ import annotations

import time
import warnings
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
from robo.policies import distributed
from robo.policies.asynchronous import EnvironmentGroups, GroupedCollector
from robo.policies.checkpoint import Checkpoints, save_policy, start_from
from robo.policies.collector import Collector
from robo.policies.evaluate import parse_seeds
from robo.policies.group_collector import GroupCollector
from robo.policies.metrics import (
    EPISODE_NUMBERS,
    MetricsLog,
    NoLog,
    RankReport,
    episode_metrics,
    merge_reports,
    reward_metrics,
)
from robo.policies.pipeline import Collected, OverlappedPipeline, RolloutPipeline
from robo.policies.policy_files import make_policy
from robo.policies.ppo import PPO
from robo.policies.rank_checkpoint import load_run, save_run
from robo.policies.reward_returns import RewardReturns
from robo.policies.run_folder import RunFolder, earlier_run
from robo.policies.selection import rank_of, selection_score, share_of_seeds
from robo.policies.threads import set_threads, torch_threads
from robo.policies.train_config import NOT_COMPARED, TrainConfig, check_parts
from robo.rewards.base import Reward
from robo.rewards.learned import counts_of, restore_learned
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
        env: this process's part of ``config.num_envs`` environments (all of them in a run of one
            process), or groups of them.
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
        env: VectorEnvironment | EnvironmentGroups,
        reward: Reward,
        out: Path,
        evaluate_env: VectorEnvironment | None = None,
        callbacks: Sequence[Callback] = (),
        show: bool = True,
    ) -> None:
        """See the class."""
        self.shard = distributed.shard(config.num_envs)
        check_parts(config, env, reward, len(self.shard))
        set_threads(config.threads)
        self.config, self.env, self.reward = config, env, reward
        self.evaluate_env, self.callbacks, self.show = evaluate_env, tuple(callbacks), show
        self.folder = RunFolder(Path(out))
        compared = {k: v for k, v in plain(config).items() if k not in NOT_COMPARED}
        self.checkpoints = Checkpoints(
            self.folder.checkpoints, compared, keep=config.keep_checkpoints
        )
        self.evaluate_seeds = parse_seeds(config.evaluate_seeds)
        self.actor_critic = make_policy(
            env.single_observation_space,
            env.single_action_space,
            config.network,
            reward.critic_feature_dim,
            config.seed,
        )
        if config.start_from is not None:
            start_from(self.actor_critic, config.start_from)
        self.actor_critic.to(distributed.device(config.device))
        self.ppo = PPO(config.ppo, self.actor_critic, seed=config.seed)
        for tensor in self.actor_critic.state_dict().values():
            distributed.broadcast_(tensor)
        self.collector = self._make_collector(env)
        self.pipeline = RolloutPipeline(self.collector)
        if config.collection == "overlapped":
            self.pipeline = OverlappedPipeline(self.collector, self.actor_critic)
        self.iteration = 0
        self.step = 0
        self.seconds = 0.0
        self.next_evaluation = config.evaluate_every_steps
        self.best: dict[str, Any] | None = None
        self.last_evaluation: dict[str, Any] | None = None
        self.stopped = False
        self.reward_returns = RewardReturns(len(self.shard))
        self.recent: deque[tuple[bool, float, int, float]] = deque(maxlen=RECENT)

    def _make_collector(
        self, env: VectorEnvironment | EnvironmentGroups
    ) -> Collector | GroupedCollector:
        parts = (self.actor_critic, self.config.steps_per_rollout, self.config.seed)
        if self.config.group_size:
            assert not isinstance(env, EnvironmentGroups)
            return self._make_group_collector(env)
        if isinstance(env, EnvironmentGroups):
            return GroupedCollector(env, *parts, self.reward.camera, self.shard)
        return Collector(env, *parts, self.reward.camera, self.shard)

    def _make_group_collector(self, env: VectorEnvironment) -> GroupCollector:
        config, seeds = self.config, None
        if config.group_seeds is not None:
            seeds = parse_seeds(config.group_seeds)
        shared = (config.group_size, config.seed, self.reward.camera, self.shard, seeds)
        return GroupCollector(env, self.actor_critic, *shared)

    def run(self, resume: bool = False) -> dict[str, Any]:
        """Train to the end and save the policy.

        Args:
            resume: go on from the newest readable checkpoint.

        Returns:
            ``steps``, ``iterations``, ``wall_seconds``, ``success`` (of the best policy on the
            seeds that selected it, hence optimistic; None without evaluations),
            ``success_recent`` and ``return_recent`` (over the last episodes of training),
            ``evaluation`` (the last one), ``best``, ``stopped_early``, ``timeout``, ``gamma``,
            ``backend``, ``exact_resume``, ``processes``, ``reward_counts``, ``policy`` (folder).
            The same on every rank, but for the seconds and the counts.

        Raises:
            RoboError: an earlier run in the folder without ``resume``, checkpoints damaged or of
                another configuration, a diverged update, full disk.
        """
        first = distributed.rank() == 0
        if resume:
            self.load_state_dict(load_run(self.checkpoints, self.shard))
        elif first and self.checkpoints.paths():
            raise RoboError(earlier_run(self.folder.root))
        log = NoLog()
        if first:
            log = MetricsLog(self.folder.metrics, self.config.total_steps, self.step, self.show)
        with log:
            while self.step < self.config.total_steps and not self.stopped:
                self._iterate(log)
        if first:
            save_policy(self.actor_critic, self.folder.policy)
        distributed.barrier()
        return self.result()

    def _iterate(self, log: MetricsLog | NoLog) -> None:
        start = time.perf_counter()
        collected = self._next_rollout()
        rollout = collected.rollout
        waited = time.perf_counter()
        terms = self.reward(rollout)
        rewarded = time.perf_counter()
        rewards = reward_metrics(rollout, terms)
        returns = self.reward_returns.add(rollout, terms)
        with torch_threads(self.config.update_threads or self.config.threads):
            learned = self.ppo.update(rollout, terms, 1.0 - self.step / self.config.total_steps)
        updated = time.perf_counter()
        seconds = {
            "collect": collected.seconds,
            "wait": waited - start,
            "reward": rewarded - waited,
            "update": updated - rewarded,
        }
        report, spread = merge_reports(
            distributed.gather_objects(self._report(collected, returns, rewards, seconds))
        )
        self._count(report)
        metrics = {
            **episode_metrics(report.finished, self.recent),
            **report.rewards,
            **{f"ppo/{name}": value for name, value in learned.items()},
            **{f"time/{part}": value for part, value in report.seconds.items()},
            **{f"reward_model/{name}": n for name, n in counts_of(self.reward).items()},
            **spread,
            "time/steps_per_second": report.steps / (updated - start),
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
            save_run(self.checkpoints, self.state_dict(), self.shard, self.iteration)

    def _next_rollout(self) -> Collected:
        """The next rollout; tells the pipeline what will follow, so that it can run ahead."""
        config = self.config
        after = self.step + config.steps_per_rollout * config.num_envs
        more = after < config.total_steps
        may_stop = bool(config.evaluate_every_steps) and config.stop_success is not None
        keep = not more or (self.iteration + 1) % config.checkpoint_every_iterations == 0
        keep = keep or (may_stop and after >= self.next_evaluation)
        return self.pipeline.next(more, keep)

    @staticmethod
    def _report(
        collected: Collected,
        returns: dict[int, float],
        rewards: dict[str, float],
        seconds: dict[str, float],
    ) -> RankReport:
        valid, (steps, envs) = collected.rollout.valid, collected.rollout.shape
        finished = [
            (episode.success, float(episode.env_return), int(episode.length), returns[episode.id])
            for episode in collected.finished
        ]
        count = steps * envs
        if valid is not None:  # whole episodes, whose rollout's steps may be chunks of actions
            count = sum(length for _, _, length, _ in finished)
        return RankReport(count, finished, rewards, seconds)

    def _count(self, report: RankReport) -> None:
        self.iteration += 1
        self.step += report.steps
        self.recent.extend(report.finished)

    def _evaluate(self, log: MetricsLog | NoLog) -> None:
        """Score the policy on the selection seeds; keep it if it is the best so far.

        Ranks share the seeds; the score does not depend on who played which.
        """
        while self.next_evaluation <= self.step:
            self.next_evaluation += self.config.evaluate_every_steps
        share = share_of_seeds(self.evaluate_seeds)
        env = self._evaluation_env(len(share)) if share else None
        score = selection_score(self.actor_critic, env, self.evaluate_seeds)
        score["step"] = self.step
        self.last_evaluation = score
        log.scalars(self.step, {f"evaluation/{name}": value for name, value in score.items()})
        for name, value in score["signals"].items():
            log.scalars(self.step, {f"evaluation/signals/{name}": value})
        log.say(
            f"step {self.step:,}: success {score['success_rate']:.0%} of {score['episodes']} "
            f"selection seeds, mean return {score['mean_return']:.4g}"
        )
        metric = self.config.evaluate_metric
        if self.best is None or rank_of(score, metric) >= rank_of(self.best, metric):
            self.best = score
            if distributed.rank() == 0:
                save_policy(self.actor_critic, self.folder.best)
        self.stopped = self.stopped or self._reached_target()

    def _reached_target(self) -> bool:
        target, score = self.config.stop_success, self.last_evaluation
        return target is not None and score is not None and score["success_rate"] >= target

    def _evaluation_env(self, seeds: int) -> VectorEnvironment:
        if self.evaluate_env is None:
            from robo.sim.registry import make_vec

            config, count = self.config, min(len(self.shard), seeds)
            self.evaluate_env = make_vec(
                config.task, count, backend=config.backend, **config.options
            )
        return self.evaluate_env

    def state_dict(self) -> dict[str, Any]:
        """Everything that this rank's next iteration depends on."""
        return {
            "actor_critic": self.actor_critic.state_dict(),
            "ppo": self.ppo.state_dict(),
            **self.pipeline.state_dict(),
            "reward": self.reward.state_dict(),
            "reward_returns": self.reward_returns.state_dict(),
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
        if state["reward"] is None:
            warnings.warn(
                "the reward's open episodes cannot be shared out to another number of processes: "
                "new ones begin, and what it has learned stays",
                stacklevel=2,
            )
            restore_learned(self.reward, state["learned_from"])
        else:
            self.reward.load_state_dict(state["reward"])
        self.pipeline.load_state_dict({name: state[name] for name in ("collector", "actor")})
        self.iteration, self.step = state["iteration"], state["step"]
        self.seconds, self.next_evaluation = state["seconds"], state["next_evaluation"]
        self.best, self.last_evaluation = state["best"], state["last_evaluation"]
        self.stopped = self._reached_target()
        if state["reward_returns"] is not None:
            self.reward_returns.load_state_dict(state["reward_returns"])
        # Checkpoints of earlier versions hold entries without the sum of the reward.
        whole = (tuple(e) for e in state["recent"] if len(e) == len(EPISODE_NUMBERS))
        self.recent = deque(whole, maxlen=RECENT)

    def close(self) -> None:
        """Close the environments."""
        self.pipeline.close()
        self.env.close()
        if self.evaluate_env is not None:
            self.evaluate_env.close()

    def result(self) -> dict[str, Any]:
        """What the run came to; see :meth:`run`."""
        successes = [entry[0] for entry in self.recent]
        returns = [entry[1] for entry in self.recent]
        return {
            "task": self.config.task,
            "backend": self.env.backend,
            "exact_resume": self.collector.exact_resume,
            "processes": distributed.world_size(),
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
            "reward_counts": counts_of(self.reward),
            "policy": str(self.folder.best if self.best is not None else self.folder.policy),
        }


def make_trainer(
    config: TrainConfig, out: Path, callbacks: Sequence[Callback] = (), show: bool = True
) -> Trainer:
    """The run that a configuration describes, with its environments and its reward.

    Raises:
        RoboError: unknown task, missing extra, parts that do not fit together.
    """
    from robo.policies.asynchronous import make_environments
    from robo.rewards.config import make_reward

    reward = make_reward(
        config.reward,
        config.ppo.gamma,
        config.ppo.timeout,
        distributed.gather_objects,
        distributed.rank(),
    )
    env = make_environments(config, len(distributed.shard(config.num_envs)))
    try:
        return Trainer(config, env, reward, out, callbacks=callbacks, show=show)
    except BaseException:
        env.close()
        raise
