"""When each wrapper of robo.rewards.robust helps: faulty rewards on mujoco/Reach, PPO from scratch.

    python benchmarks/reward_wrappers.py --workers 2

Every reward is success plus a dense part read from the simulator's true progress p, with a fault:

* farmable: p itself, paid at every step. Standing near the ball pays more than touching it;
* false goal: the change of p, but states with p in [0.45, 0.55] are taken for the goal and count 3.
  Entering them pays once, leaving takes it back: it tempts to stay, and cannot be farmed;
* spikes: 0.2 of the change of p, and in 1 % of the steps an error of standard deviation 20;
* accurate: the change of p. Nothing to mend: what a wrapper costs.

For the ensembles and the filter, members share the fault in kind but not in place: the false goal
of the others lies at p in [0.2, 0.3] and [0.7, 0.8], their spikes fall on other steps. ``ensemble``
takes the worst member, ``ensemble_variance`` the mean less the variance. Success of the last policy
is over seeds that nothing was chosen on. ``shaped`` is potential-based shaping by the same dense
part, for comparison. Interrupt and repeat the command: it goes on.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import tyro
from _study import Run, Study, execute, machine, one_thread, publish

from robo.rewards.success import Memoryless
from robo.rollout import RewardTerms, Rollout

if TYPE_CHECKING:
    from robo.rewards.base import Reward

TASK, ENVS, STEPS = "mujoco/Reach", 64, 50
REPORT_SEEDS = "5000-5099"
FAULTS = {
    "farmable": "p itself at every step",
    "false goal": "the change of p, where p of 0.45 to 0.55 counts 3",
    "spikes": "0.2 of the change of p, and an error of standard deviation 20 in 1 % of the steps",
    "accurate": "the change of p",
}
"""Name of a fault to what the dense part pays."""
FALSE_GOALS = (0.45, 0.2, 0.7)
"""Where the false goal of each ensemble member begins."""
WRAPPERS = (
    "none",
    "gated",
    "attributed",
    "squashed",
    "clipped",
    "delta",
    "ensemble",
    "ensemble_variance",
    "filtered",
    "hierarchy",
    "shaped",
)


@dataclass(frozen=True)
class Options:
    """Success of PPO under faulty rewards, by wrapper."""

    faults: tuple[str, ...] = tuple(FAULTS)
    """Faults of the dense part."""
    wrappers: tuple[str, ...] = WRAPPERS
    """Wrappers around it; none is the faulty reward as it is, shaped is potential-based."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds."""
    total_steps: int = 100_000
    """Environment steps of each run."""
    minutes: float | None = None
    """Start no run later than this; None: until all are done."""
    workers: int = 2
    """Runs at a time, one thread each."""
    work: Path = Path("runs/benchmarks/reward_wrappers")
    """Folder of the finished runs, from which an interrupted study goes on."""
    out: Path | None = Path("benchmarks/results/reward_wrappers.json")
    """JSON file to write."""


def dense(fault: str, member: int, seed: int, as_potential: bool = False) -> Reward:
    """The dense part with its fault, as member ``member`` of an ensemble sees it.

    Args:
        fault: of ``FAULTS``.
        member: 0, 1 or 2.
        seed: of the spikes.
        as_potential: the state's value in place of what a step pays, for shaping.
    """

    class Dense(Memoryless):
        """Reads true progress and errs."""

        signals: tuple[str, ...] = ("progress",)

        def __init__(self) -> None:
            self.generator = torch.Generator().manual_seed(1000 * seed + member)

        def __call__(self, rollout: Rollout) -> RewardTerms:
            p = rollout.signals["progress"]
            if fault == "false goal":
                low = FALSE_GOALS[member]
                p = torch.where((p >= low) & (p <= low + 0.1), torch.full_like(p, 3.0), p)
            paid = p if as_potential or fault == "farmable" else changes(p, rollout)
            if fault == "spikes" and not as_potential:
                hit = torch.rand(p.shape, generator=self.generator) < 0.01
                error = 20 * torch.randn(p.shape, generator=self.generator)
                paid = 0.2 * paid + torch.where(hit, error, torch.zeros_like(error))
            return RewardTerms(paid, {"dense": paid})

    return Dense()


def changes(p: Any, rollout: Rollout) -> torch.Tensor:
    """Change of progress in each step; the first step of an episode pays none."""
    before = torch.cat([p[:1], p[:-1]])
    same = torch.cat([torch.zeros_like(rollout.episode[:1]), rollout.episode[:-1]])
    return torch.where(same == rollout.episode, p - before, torch.zeros_like(p))


def potential_of(fault: str, seed: int) -> Any:
    """The dense part as a potential of states, which attribution and shaping need.

    Spikes are added to the potential of the state that is reached.
    """
    from robo.rewards.potential import SignalPotential

    reading = dense(fault, 0, seed, as_potential=True)
    generator = torch.Generator().manual_seed(7000 + seed)

    class Faulty(SignalPotential):
        """True progress with the fault."""

        def __call__(self, rollout: Rollout) -> Any:
            value = reading(rollout).total
            if fault == "spikes":
                hit = torch.rand(value.shape, generator=generator) < 0.01
                value = value + hit * 20 * torch.randn(value.shape, generator=generator)
            signals = {**rollout.signals, self.signal: value}
            return super().__call__(replace(rollout, signals=signals))

    return Faulty("progress")


def make_reward(fault: str, wrapper: str, seed: int, gamma: float, timeout: Any) -> Reward:
    """The faulty reward inside a wrapper."""
    from robo.rewards.robust.attribution import AttributedReward
    from robo.rewards.robust.clip_delta import ClippedReward, DeltaReward
    from robo.rewards.robust.ensemble import EnsembleReward
    from robo.rewards.robust.filtering import FilteredReward
    from robo.rewards.robust.gated import GatedReward
    from robo.rewards.robust.hierarchy import HierarchicalReward
    from robo.rewards.robust.squash import SquashedReward
    from robo.rewards.shaping import ShapedReward
    from robo.rewards.success import SuccessReward

    part = dense(fault, 0, seed)
    plain = Sum([SuccessReward(), part])
    members = [Sum([SuccessReward(), dense(fault, i, seed)]) for i in range(len(FALSE_GOALS))]
    made: dict[str, Callable[[], Reward]] = {
        "none": lambda: plain,
        "gated": lambda: GatedReward(part, limit=1.0),
        "attributed": lambda: AttributedReward(potential_of(fault, seed)),
        "squashed": lambda: SquashedReward(plain),
        "clipped": lambda: ClippedReward(part, 1.0),
        "delta": lambda: DeltaReward(part),
        "ensemble": lambda: EnsembleReward(members, "worst"),
        "ensemble_variance": lambda: EnsembleReward(members, "variance"),
        "filtered": lambda: FilteredReward(EnsembleReward(members, "mean"), "inner.deviation", 0.2),
        "hierarchy": lambda: HierarchicalReward(
            plain, ["success", "dense"], hierarchy_weights(fault, seed)
        ),
        "shaped": lambda: ShapedReward(SuccessReward(), potential_of(fault, seed), gamma, timeout),
    }
    return made[wrapper]()


class Sum(Memoryless):
    """The sum of rewards that read no frames, with the terms of all."""

    def __init__(self, parts: list[Any]) -> None:
        """Add ``parts``."""
        self.parts = parts
        self.signals = tuple(dict.fromkeys(name for part in parts for name in part.signals))

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Sum of the totals."""
        found = [part(rollout) for part in self.parts]
        terms = {name: value for one in found for name, value in one.terms.items()}
        return RewardTerms(torch.stack([one.total for one in found]).sum(0), terms)


def hierarchy_weights(fault: str, seed: int) -> Any:
    """Weights under which success comes first and the dense part second, from 96 episodes.

    The episodes are the scripted expert's with much noise, so that some fail.
    """
    from robo.policies.recorder import record_episodes
    from robo.rewards.replay import score
    from robo.rewards.robust.hierarchy import fit_weights
    from robo.rewards.success import SuccessReward
    from robo.sim.mujoco.expert import ExpertStyle, make_expert
    from robo.sim.registry import make_vec

    env = make_vec(TASK, 32)
    try:
        episodes = [
            episode
            for noise in (0.3, 1.5, 3.0)
            for episode in record_episodes(
                env, make_expert(TASK, ExpertStyle(noise=noise), seed), range(32)
            )
        ]
    finally:
        env.close()
    reward = Sum([SuccessReward(), dense(fault, 0, seed)])
    sums = torch.tensor(
        [
            [part.terms["success"].sum(), part.terms["dense"].sum()]
            for part in score(reward, episodes)
        ]
    )
    return fit_weights(sums, (0.5, 0.1))


def train(run: Run, folder: Path) -> dict[str, Any]:
    """One run of PPO. Settings: fault, wrapper, seed, total_steps."""
    from robo.policies.actor_critic import ActorCritic
    from robo.policies.evaluate import evaluate, parse_seeds
    from robo.policies.run_folder import find_policy
    from robo.policies.train_config import TrainConfig, lift_network, lift_ppo
    from robo.policies.trainer import Trainer
    from robo.sim.registry import make_vec

    fault, wrapper, seed = (run.settings[name] for name in ("fault", "wrapper", "seed"))
    ppo = lift_ppo()
    config = TrainConfig(
        task=TASK,
        num_envs=ENVS,
        steps_per_rollout=STEPS,
        total_steps=run.settings["total_steps"],
        seed=seed,
        ppo=ppo,
        network=lift_network(),
        evaluate_every_steps=0,
    )
    reward = make_reward(fault, wrapper, seed, ppo.gamma, ppo.timeout)
    env = make_vec(TASK, ENVS)
    judge = make_vec(TASK, 50)
    curve: list[tuple[int, float]] = []

    def watch(iteration: Any) -> None:
        ended = iteration.rollout.done
        if bool(ended.any()):
            won = float(iteration.rollout.success[ended].float().mean())
            curve.append((iteration.step, won))

    try:
        trainer = Trainer(config, env, reward, folder, None, callbacks=[watch], show=False)
        try:
            trainer.run()
        finally:
            trainer.close()
        score = evaluate(ActorCritic.load(find_policy(folder)), judge, parse_seeds(REPORT_SEEDS))
    finally:
        env.close()
        judge.close()
    return {
        "fault": fault,
        "wrapper": wrapper,
        "seed": seed,
        "success": score["success_rate"],
        "curve": curve,
        "timeout": ppo.timeout,
    }


def tell(run: Run, result: dict[str, Any] | None) -> None:
    """One line per finished run."""
    said = "FAILED, see the error above" if result is None else f"success {result['success']:.0%}"
    print(f"{run.name}: {said}", flush=True)


def main(options: Options) -> int:
    """Run what is missing; the last line printed is one JSON object."""
    study = Study(options.work)
    runs = [
        Run(
            f"{fault.replace(' ', '_')}-{wrapper}-s{seed}",
            {"fault": fault, "wrapper": wrapper, "seed": seed, "total_steps": options.total_steps},
        )
        for seed in options.seeds
        for fault in options.faults
        for wrapper in options.wrappers
    ]
    failed = execute(study, runs, train, options.workers, options.minutes, tell)
    results = [found for run in runs if (found := study.result(run)) is not None]
    rows = []
    for fault in options.faults:
        for wrapper in options.wrappers:
            own = [r for r in results if (r["fault"], r["wrapper"]) == (fault, wrapper)]
            if own:
                success = [r["success"] for r in own]
                rows.append(
                    {
                        "fault": fault,
                        "wrapper": wrapper,
                        "success": success,
                        "median_success": statistics.median(success),
                    }
                )
    missing = [run.name for run in study.missing(runs)]
    result = {
        "benchmark": "reward_wrappers",
        "task": TASK,
        "finished": not missing,
        "missing": missing,
        "total_steps": options.total_steps,
        "seeds": options.seeds,
        "report_seeds": REPORT_SEEDS,
        "timeout": "keep",
        "faults": {fault: FAULTS[fault] for fault in options.faults},
        "rows": rows,
        "machine": machine(),
    }
    publish(result, None if missing else options.out)
    return 1 if failed else 0


if __name__ == "__main__":
    one_thread()  # of the processes that do the runs
    sys.exit(main(tyro.cli(Options, description=__doc__)))
