"""Rollouts in groups: several episodes from each initial state, begun and ended together.

Made for learners without a critic (``PPOConfig.advantage`` "group"): every rollout resets all
environments, plays one episode in each, and stops when the last has ended. Slots of environments
whose episode is over are not valid, and count nowhere. Policies that plan chunks of actions act
once per chunk; a step of the rollout is then a chunk.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from robo.errors import RoboError
from robo.policies import distributed
from robo.policies.collector import FIRST_SEED, Collector, FinishedEpisode
from robo.policies.distributed import Shard
from robo.policies.policy import Policy
from robo.policies.rollout_record import RolloutRecord, frames_of
from robo.rollout import CameraSchedule, Rollout
from robo.sim.contract import FrameRows, VectorEnvironment


class GroupCollector(Collector):
    """Plays ``group_size`` episodes from each of N / ``group_size`` initial states.

    All environments of a group are reset with the same seed. Between rollouts no episode is
    open, so that a resumed run goes on exactly, whatever the environment can save.
    """

    def __init__(
        self,
        env: VectorEnvironment,
        actor_critic: Policy,
        group_size: int,
        seed: int = 0,
        camera: CameraSchedule | None = None,
        shard: Shard | None = None,
        seeds: list[int] | None = None,
    ) -> None:
        """Nothing runs until the first :meth:`collect`.

        Args:
            env: N environments with a time limit.
            actor_critic: acts; it is not changed.
            group_size: episodes per initial state, at least 2; divides the number of
                environments of all processes.
            seed: decides the initial states and the action noise.
            camera: what the reward asks for.
            shard: which environments of the global list ``env`` holds; None: all there are.
            seeds: those of the initial states, drawn from without repetition in a rollout; None
                draws new ones from ``FIRST_SEED`` on.

        Raises:
            RoboError: no time limit, or sizes that do not fit.
        """
        if env.max_episode_steps is None:
            raise RoboError(
                f"groups of episodes need a time limit, and {env.task} has none: set its option"
            )
        self.chunk = actor_critic.chunk
        steps = -(-env.max_episode_steps // self.chunk)
        super().__init__(env, actor_critic, steps, seed, camera, shard)
        total = self.shard.total
        if group_size < 2 or total % group_size:
            raise RoboError(
                f"group_size is {group_size}; it must be at least 2 and divide the {total} "
                "environments"
            )
        if seeds is not None and len(seeds) < total // group_size:
            raise RoboError(
                f"a rollout begins from {total // group_size} initial states, but only "
                f"{len(seeds)} seeds are given: give more, or take larger groups"
            )
        self.group_size, self.seeds = group_size, seeds

    def collect(self) -> Rollout:
        """One episode in every environment.

        Returns:
            A rollout with ``valid``; T is the number of steps of its longest episode, over all
            ranks. Each episode's information names its group, unique over the run.

        Raises:
            RoboError: where the policy's action is NaN or infinite.
        """
        record, going = self._begin_groups(), np.ones(len(self._episode), bool)
        valid = np.zeros((self.steps, len(going)), bool)
        taken = 0
        while going.any() and taken < self.steps:
            valid[taken] = going
            self._play(record, taken, self.act(record, taken), going)
            taken += 1
        if going.any():
            raise RoboError(
                f"{self.env.task} went on beyond its own limit of {self.env.max_episode_steps} "
                "steps: its max_episode_steps is wrong"
            )
        used = max(distributed.gather_objects(taken))
        return self._rollout(record, valid, taken, used)

    def _begin_groups(self) -> RolloutRecord:
        seeds = self._initial_seeds()
        own = seeds[self.shard.first : self.shard.stop]
        # Vector environments take a list of seeds; gymnasium's base class only declares an int.
        first, infos = self.env.reset(seed=own)  # type: ignore[arg-type]
        self._observation = self._own(first)
        self._return[:], self._length[:] = 0.0, 0
        self._open, self.finished = {}, []
        per_rollout = self.shard.total // self.group_size
        for env in range(len(self._episode)):
            self._start_episode(env)
            episode = int(self._episode[env])
            place = (self.shard.first + env) // self.group_size
            self._open[episode] = dataclasses.replace(
                self._open[episode], group=self.rollouts * per_rollout + place, seed=own[env]
            )
        rows = infos.get("frames")
        carried = [] if rows is None else [frames_of(rows, 0, self._episode, self._episode)]
        self.noise.begin(self.rollouts)
        self.rollouts += 1
        shape = (self.steps, len(self._episode))
        return RolloutRecord(shape, self.env.signal_names, self.camera, carried, dict(self._open))

    def _initial_seeds(self) -> list[int]:
        """A seed for every environment of the global list."""
        draw = np.random.default_rng((self.seed, 11, self.rollouts))
        count = self.shard.total // self.group_size
        if self.seeds is None:
            drawn = draw.integers(FIRST_SEED, 2**31 - 1, count)
        else:
            drawn = draw.choice(np.array(self.seeds, np.int64), count, replace=False)
        return np.repeat(drawn, self.group_size).tolist()

    def _play(self, record: RolloutRecord, t: int, actions: np.ndarray, going: np.ndarray) -> None:
        """Step through the chunk of actions of step ``t``; closes ``going`` where episodes end."""
        count = len(going)
        reward, terminated, truncated = np.zeros(count), *np.zeros((2, count), bool)
        success = np.zeros(count, bool)
        final: list[Any] = [None] * count
        signals: dict[str, np.ndarray] = {}
        parts = actions if self.chunk == 1 else actions.reshape(count, self.chunk, -1)
        for part in range(self.chunk):
            action = parts if self.chunk == 1 else np.ascontiguousarray(parts[:, part])
            observation, paid, ended, cut, infos = self.env.step(action)
            self._observation = self._own(observation)
            reward += np.where(going, paid, 0.0)
            self._length += going
            terminated |= going & ended
            truncated |= going & cut & ~ended
            success |= going & np.asarray(infos["success"])
            for name, values in (infos.get("signals") or {}).items():
                signals[name] = np.where(going, values, signals.get(name, 0.0))
            over = going & (ended | cut)
            for env in np.flatnonzero(over):
                final[env] = infos["final_obs"][env]
            self._frames(record, t, infos.get("frames"), going, over)
            going &= ~over
            if not going.any():
                break
        kept = {"success": success, "signals": signals, "final_obs": final}
        record.after(t, reward, terminated, truncated, kept)
        self._return += record.env_reward[t]
        for env in np.flatnonzero(record.ended):
            self._close(record, t, int(env))

    def _frames(
        self,
        record: RolloutRecord,
        t: int,
        rows: FrameRows | None,
        going: np.ndarray,
        over: np.ndarray,
    ) -> None:
        """Keep the frames of episodes that go on or have just ended; none of a reset state."""
        if rows is None or not len(rows.env):
            return
        wanted = going[rows.env] & (rows.final == over[rows.env])
        if wanted.any():
            views = {name: image[wanted] for name, image in rows.views.items()}
            chosen = FrameRows(views, rows.env[wanted], rows.final[wanted])
            record.frames.append(frames_of(chosen, t + 1, self._episode, self._episode))

    def _close(self, record: RolloutRecord, t: int, env: int) -> None:
        episode = int(self._episode[env])
        self.finished.append(
            FinishedEpisode(
                id=episode,
                env=env,
                env_return=float(self._return[env]),
                length=int(self._length[env]),
                success=bool(record.success[t, env]),
                terminated=bool(record.terminated[t, env]),
                info=self._open.pop(episode),
            )
        )

    def _rollout(self, record: RolloutRecord, valid: np.ndarray, taken: int, used: int) -> Rollout:
        """The first ``used`` steps, of which this rank took ``taken``."""
        assert self._observation is not None
        record.episode[taken:used] = self._episode
        numbers = (record.log_prob, record.env_reward, record.action, *record.signals.values())
        for array in (*numbers, *record.observation.values()):
            array[taken:used] = 0
        for flags in (record.terminated, record.truncated, record.success):
            flags[taken:used] = False
        rollout = record.rollout(self._observation)
        for name in ("action", "log_prob", "env_reward", "terminated", "truncated", "success"):
            setattr(rollout, name, getattr(rollout, name)[:used])
        rollout.episode = rollout.episode[:used]
        rollout.observation = {key: rows[:used] for key, rows in rollout.observation.items()}
        rollout.signals = {key: rows[:used] for key, rows in rollout.signals.items()}
        rollout.valid = torch.from_numpy(valid[:used])
        return rollout

    # ------------------------------------------------------------------ exact resume

    def state_dict(self) -> dict[str, Any]:
        """The counters; nothing is open between rollouts."""
        return {
            "first": self.shard.first,
            "total": self.shard.total,
            "rollouts": self.rollouts,
            "started": False,
            "observation": {},
            "episode": self._episode.tolist(),
            "episodes_begun": self._episodes_begun.tolist(),
            "open": {},
            "return": [0.0] * len(self._return),
            "length": [0] * len(self._length),
            "carried": [],
            "env": None,
        }
