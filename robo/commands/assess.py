"""``robo assess``: what any number of rewards say of the same episodes, and what fools them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from robo.errors import RoboError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robo.assess.report import AssessOptions
    from robo.rewards.base import Reward
    from robo.rollout import CameraSchedule, Episode

PAGE = "report.html"


@dataclass(frozen=True)
class Assess:
    """Compare rewards on stored episodes: order, discrimination, calibration, hacking probes."""

    rewards: tyro.conf.Positional[tuple[str, ...]]
    """Rewards by text: success, environment, route_completion, grm:FOLDER, naive:SIGNAL ...;
    KIND:ARGUMENT,option=value, and wrappers as delta(raw:progress). See docs/assess.md."""
    episodes: Path
    """Episode store, or the run folder of robo collect."""
    truth: str | None = None
    """Signal of true progress in [0, 1] (mujoco tasks: progress), to compare with."""
    gamma: float = 0.99
    """Discount of the learner that the rewards are for, below 1."""
    timeout: Literal["bootstrap", "keep"] = "bootstrap"
    """Its time-out rule."""
    stride: int | None = None
    """Steps between two readings; None takes each reward's own (5 for frames, 1 for signals)."""
    limit: int | None = None
    """Assess on at most this many episodes, successes and failures in turn; None takes all."""
    transitions: int = 0
    """Stored steps on which EPIC, DARD and STARC distances are sampled; 0 leaves them out."""
    branches: int = 4
    """Actions tried in each state by resetting the simulator, for DARD and STARC; 0 leaves those
    two out and needs no simulator."""
    horizon: int = 5
    """Steps of each such trial; STARC's values look this far."""
    hold: int = 1
    """Environment steps that an action of a trial is held for."""
    runs: tuple[Path, ...] = ()
    """Training runs whose Goodhart gap is shown: return under the reward against success."""
    resamples: int = 500
    """Bootstrap resamples of whole episodes; 0 makes no intervals."""
    seed: int = 0
    """Of the resampling, the choice of transitions and the trials' actions."""
    out: Path | None = Path("runs/assess")
    """Run folder for result.json and report.html; None writes neither."""
    json: bool = False
    """Print the result as the last line."""

    def __post_init__(self) -> None:
        """Refuse what cannot be computed."""
        if not self.rewards:
            raise RoboError("name at least one reward, for example: robo assess success --episodes")
        if not 0 <= self.gamma < 1:
            raise RoboError(f"gamma is {self.gamma}, expected a discount in [0, 1)")
        if self.limit is not None and self.limit < 1:
            raise RoboError(f"limit is {self.limit}, expected at least one episode")
        for name in ("transitions", "branches", "resamples"):
            if getattr(self, name) < 0:
                raise RoboError(f"{name} is {getattr(self, name)}, expected at least 0")
        if min(self.horizon, self.hold) < 1:
            raise RoboError(
                f"horizon is {self.horizon} and hold {self.hold}, expected at least 1 each"
            )

    def run(self) -> dict[str, Any]:
        """Assess every reward on the same episodes.

        Returns:
            What :func:`robo.assess.report.assess_rewards` returns, with ``store``, and the path
            of the ``page``. Where distances or a run's gap cannot be had, the sentence that says
            why stands in their place (``left_out``), and the rest is written.

        Raises:
            RoboError: an empty or damaged store, a reward that cannot be read or built, or none
                that the episodes suffice for.
        """
        from rich.console import Console

        from robo.assess.report import assess_rewards, chosen
        from robo.commands.assess_page import write_page
        from robo.commands.score import true_progress
        from robo.data import open_store

        episodes = chosen(list(open_store(self.episodes)), self.limit)
        if self.truth is not None:
            true_progress(self.truth, episodes)
        console = Console(stderr=True)
        result = assess_rewards(
            self.build(),
            episodes,
            self.options(),
            on_reward=lambda name: console.print(f"assessing {name}", markup=False),
        )
        result = {"store": str(self.episodes), "timeout": self.timeout, **result}
        if self.transitions:
            console.print("sampling distances")
            try:
                result["distances"] = self.distances(episodes)
            except RoboError as error:
                result["distances"] = {"names": [], "left_out": {"all": str(error)}}
        if self.runs:
            result["goodhart"] = {str(run): gap_or_sentence(run) for run in self.runs}
        for sentence in left_out(result):
            console.print(sentence, markup=False)
        if self.out is not None:
            write_page(self.out / PAGE, result)
            result["page"] = str(self.out / PAGE)
        print_table(result)
        return result

    def build(self) -> dict[str, Reward]:
        """The rewards by their text."""
        from robo.rewards.spec import reward_from_spec

        if len(set(self.rewards)) < len(self.rewards):
            raise RoboError(f"a reward is named twice: {list(self.rewards)}")
        return {
            text: reward_from_spec(text, self.gamma, self.timeout, self.stride)
            for text in self.rewards
        }

    def distances(self, episodes: list[Episode]) -> dict[str, Any]:
        """EPIC, DARD and STARC between the rewards, on states read at every stored frame.

        Raises:
            RoboError: see :func:`robo.assess.sampled_distances.draw`.
        """
        import robo
        from robo.assess.branching import BranchOptions
        from robo.assess.sampled_distances import SampleOptions, draw, sampled_distances
        from robo.rewards.spec import reward_from_spec

        rewards = {
            text: reward_from_spec(text, self.gamma, self.timeout, 1) for text in self.rewards
        }
        camera = shared_camera([reward.camera for reward in rewards.values()])
        options = SampleOptions(
            transitions=self.transitions,
            gamma=self.gamma,
            branch=BranchOptions(self.branches, self.horizon, self.hold, self.seed),
            seed=self.seed,
        )
        sample = draw(episodes, camera, options, robo.make if self.branches else None)
        return sampled_distances(rewards, sample, options)

    def options(self) -> AssessOptions:
        """What is measured."""
        from robo.assess.figures import Resampling
        from robo.assess.probes import ProbeOptions
        from robo.assess.report import AssessOptions

        return AssessOptions(
            truth=self.truth,
            probes=ProbeOptions(gamma=self.gamma),
            resampling=Resampling(resamples=self.resamples, seed=self.seed),
        )


def gap_or_sentence(run: Path) -> Any:
    """The Goodhart gap of a run, or ``{"left_out": why there is none}``."""
    from robo.assess.goodhart import gap_of_run

    try:
        return gap_of_run(run / "metrics")
    except RoboError as error:
        return {"left_out": str(error)}


def left_out(result: dict[str, Any]) -> list[str]:
    """A sentence for whatever could not be had beside the figures and probes."""
    apart = (result.get("distances") or {}).get("left_out") or {}
    runs = result.get("goodhart") or {}
    absent = {n: g["left_out"] for n, g in runs.items() if isinstance(g, dict) and "left_out" in g}
    return [
        *(f"no distances of {name}: {why}" for name, why in apart.items()),
        *(f"no Goodhart gap of {name}: {why}" for name, why in absent.items()),
    ]


def shared_camera(cameras: Sequence[CameraSchedule | None]) -> CameraSchedule | None:
    """One schedule with the views of all; None where none reads frames.

    Raises:
        RoboError: they read frames of different sizes.
    """
    from robo.rollout import CameraSchedule

    given = [camera for camera in cameras if camera is not None]
    sizes = {(camera.height, camera.width) for camera in given}
    if len(sizes) > 1:
        raise RoboError(
            f"the rewards read frames of {sorted(sizes)} pixels: sample their distances apart"
        )
    if not given:
        return None
    views = tuple(dict.fromkeys(view for camera in given for view in camera.views))
    return CameraSchedule(views, *sizes.pop(), 1)


def print_table(result: dict[str, Any]) -> None:
    """Figures and probes by row and rewards by number, on standard error."""
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True)
    assessed = {n: r for n, r in result["rewards"].items() if "refused" not in r}
    table = Table("", title=f"{result['episodes']} episodes of {', '.join(result['tasks'])}")
    for i, name in enumerate(result["rewards"], start=1):
        refused = result["rewards"][name].get("refused")
        console.print(f"{i}: {name}" + (f": {refused}" if refused else ""), markup=False)
        if not refused:
            table.add_column(str(i), justify="right", no_wrap=True)
    first = next(iter(assessed.values()))
    for row in first["figures"]:
        table.add_row(row, *(_cell(found["figures"][row]) for found in assessed.values()))
    table.add_section()
    for i, probe in enumerate(first["probes"]):
        table.add_row(probe.name, *(_probe(found["probes"][i]) for found in assessed.values()))
    console.print(table)


def _cell(found: Any) -> str:
    return "-" if found.value is None else f"{found.value:.3g}"


def _probe(found: Any) -> str:
    """Green where it resists, red where it pays."""
    if not found.applies:
        return "-"
    said = f"{found.fooled or 0:.0%}" if found.income is None else f"{found.income:+.2g}"
    return f"[{'red' if found.caught else 'green'}]{said}[/]"
