"""Tables of SRPO's figures that stand in docs/srpo.md."""

from __future__ import annotations

from math import inf
from statistics import fmean, median
from typing import Any

from figure_tables import Builder, count, decimal, machine, percent, seeds, table

ENCODERS = {
    "true": "the simulator's own progress (upper bound)",
    "pixels": "pixel distance",
    "image": "image encoder",
    "untrained": "compact video encoder, untrained",
    "unordered": "compact video encoder, no order",
    "video": "compact video encoder",
    "vjepa2": "V-JEPA 2",
}
MEASURES = ("sc", "monotonicity", "mmd", "js", "smd", "auc")


def progress_reward(data: dict[str, Any]) -> str:
    """Rows of benchmarks/progress_reward.py: a row per encoder, a column per measure."""
    rows = []
    for row in data["rows"]:
        cells = [ENCODERS[row["name"]]]
        for name in MEASURES:
            low, high = row["range"][name]
            cells.append(f"{decimal(row[name])} ({decimal(low)} to {decimal(high)})")
        rows.append(cells)
    header = ("progress by", "SC", "monotonicity", "MMD", "JS", "SMD", "AUC")
    note = (
        f"{data['successes']} successes and {data['failures']} failures of "
        f"{', '.join(data['tasks'])}, of at least {data['shortest']} steps; no encoder was fitted "
        "on them, and references are other successes. Mean over tasks and "
        f"{seeds(data['seeds'])} of the fitted encoder (range); {references(data)}"
        "SC: Spearman with time; "
        "monotonicity: share of steps on which it rises; MMD, JS, SMD, AUC: terminal progress of "
        f"successes against failures. Image encoder: {data['image_encoder']}. Target of the "
        f"video encoder: SC {decimal(data['target']['sc'])}, AUC {decimal(data['target']['auc'])}: "
        f"{'met' if data['target_met'] else 'not met'}{_unfinished(data)}. Nothing is trained by "
        f"these rewards. {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def references(data: dict[str, Any]) -> str:
    """How many references, and the weight of the order."""
    if "references_per_task" not in data:
        return ""
    return (
        f"{count(data['references_per_task'])} references per task; order "
        f"{decimal(data['order'], 0)} where there is one. "
    )


def srpo_learning(data: dict[str, Any]) -> str:
    """Rows of benchmarks/srpo_learning.py: a row per task and arm."""
    arms = {"srpo": "SRPO", "binary": "binary reward"}
    rows = [
        [
            row["task"],
            arms[row["arm"]],
            _mean(row["report"]),
            _mean(row["success"]),
            rollouts(row["rollouts_to_level"]),
        ]
        for row in data["rows"]
    ]
    level = percent(data["level"])
    header = ("task", "reward", "cloned", "after groups", f"rollouts to {level}")
    means = ", ".join(f"{arms[arm]} {percent(rate)}" for arm, rate in data["mean_success"].items())
    begun = "" if data["starts_low"] else " Not every policy was cloned to so little."
    note = (
        f"Success on initial states {data['states']['report']}, which nothing else uses: mean over "
        f"{seeds(data['seeds'])} (range); rollouts until {level} of the states "
        f'{data["states"]["selection"]} succeed: median (range), "-" not within '
        f"{count(data['rollouts'])}. Policies were cloned to at most "
        f"{percent(data['highest_start'])} of the selection states.{begun} Groups of "
        f"{data['group_size']}; a run ends at {percent(data['stop'])} of the selection states. "
        f"Mean of all: {means}; target of SRPO {percent(data['target'])}: "
        f"{'met' if data['target_met'] else 'not met'}{_unfinished(data)}. Time-outs: no value is "
        f"bootstrapped, groups have no critic. {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def rollouts(values: list[int | None]) -> str:
    """Median and range; runs that did not get there count as longer than all others."""
    known = [inf if value is None else value for value in values]
    low, middle, high = (
        "-" if value == inf else count(value) for value in (min(known), median(known), max(known))
    )
    return middle if low == high else f"{middle} ({low} to {high})"


def _mean(values: list[float]) -> str:
    low, high = percent(min(values)), percent(max(values))
    middle = percent(fmean(values))
    return middle if low == high else f"{middle} ({low} to {high})"


def _unfinished(data: dict[str, Any]) -> str:
    return f"; {data['unfinished']} runs are missing" if data["unfinished"] else ""


SRPO_BUILDERS: dict[str, Builder] = {
    "progress_reward": progress_reward,
    "srpo_learning": srpo_learning,
}
