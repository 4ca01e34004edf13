"""``robo evaluate``: how often a policy succeeds in simulation, or which is best on a robot."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from robo.errors import RoboError
from robo.policies.train_config import check_options
from robo.robots.evaluation_config import EvaluationConfig


@dataclass(frozen=True)
class Evaluate:
    """Success rate of a policy in simulation, or a comparison of several on a robot.

    In simulation: --policy and --task. On a robot, blind and paired: --policies or --plan, and
    --out.
    """

    policy: Path | None = None
    """Run folder (its best policy, else its last) or policy folder, to be played in simulation."""
    task: str = ""
    """Task id; `robo tasks` lists them. On a robot "" is mujoco/Lift."""
    seeds: str = "5000-5099"
    """Seeds A-B of the initial states, one episode each however often a seed is named; use none
    that selected the policy."""
    options: dict[str, bool | int | float | str] = field(default_factory=dict)
    """The simulator's own options, name and value in turn, over those of the training run (which
    count where the task is the same): --options town Town01."""
    num_envs: int = 16
    """Environments stepped together."""
    backend: str = "auto"
    """How environments are stepped; "auto" measures and picks."""
    stochastic: bool = False
    """Sample actions in place of their mode."""
    confidence: float = 0.95
    """Of the interval, between 0 and 1; on a robot see --comparison.confidence."""
    threads: int = 1
    """Threads of torch and BLAS."""
    policies: tuple[str, ...] = ()
    """To be compared on a robot: run or policy folders, expert, expert:NOISE, script:NAME, or
    module:NAME of your own."""
    trials: int = 20
    """On a robot: trials of each policy; every initial state is run once by each of them."""
    initial_states: str = ""
    """On a robot: numbers A-B of the initial states; "" counts up from 5000."""
    plan: Path | None = None
    """On a robot: TOML or JSON file with policies, task, trials, initial_states, descriptions."""
    resume: bool = False
    """On a robot: go on with the interrupted evaluation in --out."""
    on_robot: Annotated[EvaluationConfig, tyro.conf.arg(name="")] = field(
        default_factory=EvaluationConfig
    )
    """Robot, control loop, safety, judge and statistics."""
    out: Path | None = None
    """Run folder for result.json; None writes none. On a robot: the record and the report."""
    json: bool = False
    """Print the result as the last line."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        check_options(self.options)
        self._check_kind()
        if self.num_envs < 1 or self.threads < 1:
            raise RoboError(
                f"num_envs is {self.num_envs} and threads is {self.threads}, expected at least 1 "
                "of each"
            )
        if not 0 < self.confidence < 1:
            raise RoboError(
                f"confidence is {self.confidence}, expected a value between 0 and 1, such as 0.95"
            )

    def _check_kind(self) -> None:
        """In simulation or on a robot, not both."""
        robot = bool(self.policies) or self.plan is not None
        if robot == (self.policy is not None):
            raise RoboError(
                "name one policy by --policy to play it in simulation, or several by --policies or "
                "--plan to compare them on a robot"
            )
        if self.policies and self.plan is not None:
            raise RoboError("--plan names the policies already: leave out --policies")
        if robot and self.out is None:
            raise RoboError("an evaluation on a robot needs --out: every trial is written there")
        if not robot and not self.task:
            raise RoboError("--policy needs a --task: 'robo tasks' lists them")

    def run(self) -> dict[str, Any]:
        """Play one episode per seed, or compare policies on a robot.

        Returns:
            On a robot, what :func:`robo.robots.evaluation.evaluate_on_robot` gives. In
            simulation ``success_rate``, ``episodes``, ``successes``, ``interval`` (low, high),
            ``confidence``, ``mean_return``, ``mean_length``, ``signals`` (of each, the mean of
            its values at the end of episodes), ``seeds``, ``task``, ``options``, ``backend``,
            ``policy`` (the folder that was used), ``outcomes`` per seed; of driving tasks also
            ``driving``: completion, infractions and route score per route and over all, and
            ``backend`` is the server that drove, ``vector_backend`` how it was stepped.

        Raises:
            RoboError: no policy, unknown task, a policy of another task's shape, bad seeds.
        """
        if self.policy is None:
            return self._run_on_robot()
        return self._run_in_simulation(self.policy)

    def _run_on_robot(self) -> dict[str, Any]:
        from robo.policies.evaluate import parse_seeds
        from robo.policies.threads import set_threads
        from robo.robots.evaluation import evaluate_on_robot, to_stderr
        from robo.robots.plan import Plan, read_plan

        assert self.out is not None
        set_threads(self.threads)
        if self.plan is not None:
            plan = read_plan(self.plan)
        else:
            states = parse_seeds(self.initial_states) if self.initial_states else []
            task = self.task or "mujoco/Lift"
            plan = Plan(self.policies, (task,), self.trials, tuple(states))
        return evaluate_on_robot(plan, self.on_robot, self.out, resume=self.resume, say=to_stderr)

    def _run_in_simulation(self, policy: Path) -> dict[str, Any]:
        from robo.assess.statistics import wilson
        from robo.policies.actor_critic import ActorCritic
        from robo.policies.evaluate import evaluate, parse_seeds
        from robo.policies.run_folder import find_policy, training_options
        from robo.policies.threads import set_threads
        from robo.sim.registry import make_vec

        set_threads(self.threads)
        seeds = parse_seeds(self.seeds)
        folder = find_policy(policy)
        actor_critic = ActorCritic.load(folder)
        options = {**training_options(policy, self.task), **self.options}
        env = make_vec(self.task, min(self.num_envs, len(seeds)), backend=self.backend, **options)
        driven = Driven() if "route_completion" in env.signal_names else None
        try:
            check_fit(actor_critic, env, folder)
            score = evaluate(
                actor_critic, env, seeds, deterministic=not self.stochastic, on_episode=driven
            )
            backend = env.backend
        finally:
            env.close()
        if driven is not None:
            from robo.commands.driving import server_kind

            score["driving"] = driven.report(seeds)
            score["vector_backend"], backend = backend, server_kind(self.task)
        low, high = wilson(score["successes"], score["episodes"], self.confidence)
        self._print(score, folder, float(low), float(high))
        outcomes = score.pop("outcomes")
        return {
            **score,
            "interval": [float(low), float(high)],
            "confidence": self.confidence,
            "seeds": self.seeds,
            "task": self.task,
            "options": options,
            "backend": backend,
            "policy": str(folder),
            "outcomes": outcomes,
        }

    def _print(self, score: dict[str, Any], folder: Path, low: float, high: float) -> None:
        from rich.console import Console

        Console(stderr=True, soft_wrap=True).print(
            f"{self.task}: success {score['success_rate']:.1%}, {score['successes']} of "
            f"{score['episodes']} episodes ({self.confidence:.0%} interval {low:.1%} to "
            f"{high:.1%})\nseeds {self.seeds}, mean length {score['mean_length']:.1f} steps, mean "
            f"return {score['mean_return']:.4g}, policy {folder}"
            + "".join(f"\n{name} {value:.4g}" for name, value in score["signals"].items())
            + "".join(f"\n{line}" for line in _routes(score)),
            highlight=False,
            markup=False,
        )


class Driven:
    """Summaries of driven routes, taken as episodes come."""

    def __init__(self) -> None:
        """Nothing driven yet."""
        self.tasks: list[str] = []
        self.summaries: list[Any] = []

    def __call__(self, episode: Any) -> None:
        """Take in one episode."""
        from robo.assess.driving import route_summary

        self.tasks.append(episode.info.task)
        self.summaries.append(route_summary(episode))

    def report(self, seeds: list[int]) -> dict[str, Any]:
        """See :func:`robo.assess.driving.driving_report`."""
        from robo.assess.driving import driving_report

        return driving_report(seeds, self.tasks, self.summaries)


def _routes(score: dict[str, Any]) -> list[str]:
    """Lines of the driving report; none for other tasks."""
    from robo.assess.driving import driving_table

    return driving_table(score["driving"]) if "driving" in score else []


def check_fit(actor_critic: Any, env: Any, folder: Path) -> None:
    """Refuse a policy of other observations or actions.

    Raises:
        RoboError: naming both spaces.
    """
    for name in ("observation_space", "action_space"):
        own, given = getattr(actor_critic, name), getattr(env, f"single_{name}")
        if own != given:
            raise RoboError(
                f"the policy in {folder} was trained with {name} {own}, but {env.task} has "
                f"{given}; give the task that it was trained on"
            )
