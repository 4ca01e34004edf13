"""What a run shows while it goes: TensorBoard scalars and a live display, with every term."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from robo.errors import RoboError
from robo.rollout import RewardTerms, Rollout
from robo.storage import storage_errors

EPISODE_NUMBERS = ("success", "return", "length", "reward_return")
"""What is logged of the episodes that ended, as ``episode/NAME``."""
LINE_EVERY_SECONDS = 10.0
"""Pause between two lines where the output is not a terminal."""


def scalars(values: dict[str, Any]) -> dict[str, float]:
    """The numbers of ``values`` as floats; what is not a number stays out."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, (int, float)) or getattr(value, "ndim", None) == 0
    }


class MetricsLog:
    """TensorBoard events and, on a terminal, a bar with every metric below it.

    Args:
        folder: of the TensorBoard events.
        total_steps: environment steps of the whole run.
        start_step: steps already done (a resumed run); later events of the killed run are purged.
        show: False writes events only.
    """

    def __init__(
        self, folder: Path, total_steps: int, start_step: int = 0, show: bool = True
    ) -> None:
        """See the class."""
        from rich.console import Console
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        from torch.utils.tensorboard.writer import SummaryWriter

        self.folder = Path(folder)
        with storage_errors(self.folder):
            self.writer = SummaryWriter(
                str(self.folder), purge_step=start_step + 1 if start_step else None
            )
        # stderr: the last line of stdout belongs to --json.
        self.console = Console(stderr=True, quiet=not show)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,}/{task.total:,} steps"),
            TextColumn("{task.fields[rate]:,.0f} steps/s"),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=self.console,
        )
        self.task = self.progress.add_task(
            "train", total=total_steps, completed=start_step, rate=0.0
        )
        # "visible": a low window must not cut off terms.
        self.live = Live(
            self.progress,
            console=self.console,
            refresh_per_second=4,
            vertical_overflow="visible",
        )
        self.last_line = 0.0

    def __enter__(self) -> MetricsLog:
        """Start the display."""
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the display and flush the events."""
        if self.live.is_started:
            self.live.stop()
        if kind is None:
            with storage_errors(self.folder):
                self.writer.close()

    def scalars(self, step: int, values: dict[str, Any]) -> None:
        """Write every number of ``values`` at ``step``.

        Raises:
            RoboError: full disk.
        """
        with storage_errors(self.folder):
            for name, value in scalars(values).items():
                self.writer.add_scalar(name, value, step)

    def show(self, step: int, rate: float, values: dict[str, Any]) -> None:
        """Show the state of the run after ``step`` steps; ``rate`` in steps per second."""
        numbers = scalars(values)
        self.progress.update(self.task, completed=step, rate=rate)
        if self.live.is_started:
            from rich.console import Group

            self.live.update(Group(self.progress, self._table(numbers)))
        elif time.monotonic() - self.last_line >= LINE_EVERY_SECONDS:
            self.last_line = time.monotonic()
            total = self.progress.tasks[0].total or 0
            left = (total - step) / rate if rate else math.inf
            shown = {
                name: value
                for name, value in numbers.items()
                if name.startswith(("reward/", "episode/"))
            }
            self.console.print(
                f"{step:,}/{int(total):,} steps, {rate:,.0f} steps/s, ETA {left:,.0f} s, "
                + ", ".join(f"{name} {value:.4g}" for name, value in shown.items()),
                highlight=False,
                soft_wrap=True,
            )

    def say(self, text: str) -> None:
        """Print one line above the display."""
        self.console.print(text, highlight=False, soft_wrap=True)

    def _table(self, numbers: dict[str, float]) -> Any:
        """All numbers with their whole names, as many side by side as the window holds."""
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        width = max(len(name) for name in numbers) + len("-1.234e-05") + 4
        pairs = max(1, self.console.width // width)
        for _ in range(2 * pairs):
            table.add_column(no_wrap=True)
        cells = [cell for name, value in numbers.items() for cell in (name, f"{value:.4g}")]
        for start in range(0, len(cells), 2 * pairs):
            table.add_row(*cells[start : start + 2 * pairs])
        return table


class NoLog:
    """What ranks other than 0 log to."""

    def __enter__(self) -> NoLog:
        """Nothing starts."""
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing ends."""

    def scalars(self, step: int, values: dict[str, Any]) -> None:
        """Nothing is written."""

    def show(self, step: int, rate: float, values: dict[str, Any]) -> None:
        """Nothing is shown."""

    def say(self, text: str) -> None:
        """Nothing is printed."""


@dataclass
class RankReport:
    """What one rank tells the others after an iteration; small, since all of it is sent to all."""

    steps: int
    """Environment steps of its rollout."""
    finished: list[tuple[bool, float, int, float]]
    """(success, return, length, reward_return) of the episodes that ended."""
    rewards: dict[str, float]
    """See :func:`reward_metrics`."""
    seconds: dict[str, float]
    """Seconds of the parts of the iteration, by name."""


def merge_reports(reports: Sequence[RankReport]) -> tuple[RankReport, dict[str, float]]:
    """One report of all ranks, and how their times differ.

    Rewards are means over steps; each part's time is that of the slowest rank.

    Returns:
        The report, and of every part the seconds of the fastest, the median and the slowest
        rank (``time/<part>_min``, ``_median``, ``_max``): what stragglers cost. Nothing of that
        for a single rank.
    """
    total = sum(report.steps for report in reports)
    rewards: dict[str, float] = {}
    for name in dict.fromkeys(name for report in reports for name in report.rewards):
        having = [report for report in reports if name in report.rewards]
        weight = sum(report.steps for report in having)
        rewards[name] = sum(r.rewards[name] * r.steps for r in having) / max(weight, 1)
    spread: dict[str, float] = {}
    slowest: dict[str, float] = {}
    for part in reports[0].seconds:
        times = [report.seconds[part] for report in reports]
        slowest[part] = max(times)
        if len(reports) > 1:
            spread[f"time/{part}_min"] = min(times)
            spread[f"time/{part}_median"] = statistics.median(times)
            spread[f"time/{part}_max"] = max(times)
    finished = [episode for report in reports for episode in report.finished]
    return RankReport(total, finished, rewards, slowest), spread


def episode_metrics(finished: Sequence[Any], recent: Sequence[tuple]) -> dict[str, float]:
    """Numbers of the episodes that ended, and of the recent ones.

    Args:
        finished: episodes that ended in the last rollout.
        recent: (success, return, length, reward_return) of the last episodes of the run: return is
            the sum of the environment's own reward, reward_return that of the reward learned from.
    """
    metrics = {"episode/finished": float(len(finished))}
    if recent:
        for index, name in enumerate(EPISODE_NUMBERS):
            metrics[f"episode/{name}"] = sum(float(entry[index]) for entry in recent) / len(recent)
    return metrics


def reward_metrics(rollout: Rollout, terms: RewardTerms) -> dict[str, float]:
    """Mean per step of the total and of every term; the potential at the end of episodes.

    Where the terms hold a ``potential``, ``episode/potential_of_success`` and
    ``episode/potential_of_failure`` are its means in the states in which episodes ended. A
    policy that has found a flaw of the reward model shows as a high potential of failures.

    Raises:
        RoboError: a reward that is not finite; names the term.
    """
    metrics = {}
    for name, value in {"total": terms.total, **terms.terms}.items():
        counted = value if rollout.valid is None else value[rollout.valid]
        metrics[f"reward/{name}"] = float(counted.float().mean())
    broken = [name for name, value in metrics.items() if not math.isfinite(value)]
    if broken:
        raise RoboError(
            f"{', '.join(broken)} of this rollout is not finite; look for NaN in the signals and "
            "frames that the reward reads (earlier checkpoints are intact)"
        )
    if "potential" not in terms.terms:
        return metrics
    step, env = rollout.final_observation.step, rollout.final_observation.env
    if terms.final_critic_features is not None:
        # The first critic feature of a shaped reward is the potential of the final state itself.
        potential = terms.final_critic_features[:, 0]
    else:
        potential = terms.terms["potential"][step, env]
    success = rollout.success[step, env].to(potential.device)
    for name, rows in (("success", success), ("failure", ~success)):
        if bool(rows.any()):
            metrics[f"episode/potential_of_{name}"] = float(potential[rows].float().mean())
    return metrics
