"""Tables of the studies of the General Reward Model that stand in docs/use_a_grm.md."""

from __future__ import annotations

from typing import Any

from figure_tables import Builder, count, decimal, machine, percent, seeds, spread, table

ABLATION = {
    "full": "full: three perspectives fused, three views",
    "incremental": "incremental alone",
    "forward": "forward alone",
    "backward": "backward alone",
    "consistent": "consistency-weighted fusion",
    "no_shaping": "no shaping: sparse success",
    "one_shot": "one demonstration: adapted from Reach and Push",
    "no_adaptation": "the same, not adapted",
    "single_view": "front view alone",
}
WEAK = {
    "frozen": "frozen",
    "refreshed": "refreshed on the policy's own frames",
    "ensemble": "lower bound of an ensemble, frozen",
}

ORDER = ("voc_plus", "voc_plus_incremental", "voc_minus", "auc", "auc_matched_lengths")


def signed(value: Any) -> str:
    """A difference of progress."""
    return decimal(value, sign="+")


def training_note(data: dict[str, Any]) -> str:
    """What tables of PPO runs on one task say of them."""
    return (
        f"{data['task']}, PPO from scratch with at most {count(data['total_steps'])} steps, "
        f"{seeds(data['seeds'])}: median (range). Success is over seeds {data['report_seeds']}. "
        "Potential minus true progress is that of the states in which the last iterations' "
        f"episodes ended. Time-outs: `{data['timeout']}`."
    )


def grm_tasks(data: dict[str, Any]) -> str:
    """Rows of benchmarks/grm_tasks.py: a row per task, then before and after adaptation."""
    limits = data["limits"]
    header = (
        "task",
        "episodes",
        "VOC+",
        "VOC+ incremental",
        "VOC-",
        "AUC",
        "AUC, lengths matched",
        "completion",
    )
    rows = [
        [row["name"], count(row["episodes"]), *_order_and_completion(row)] for row in data["rows"]
    ]
    rows.append(["**mean of seen tasks**", "", *_order_and_completion(data["seen"])])
    rows.append(["required", "", *_required(limits["seen"])])
    rows.append(["untrained network, the same mean", "", *_order_and_completion(data["untrained"])])
    for part, words in (("before", "not adapted"), ("after", "one demonstration")):
        found = data["adaptation"][part]
        name = f"{data['held_out']}, {words}"
        rows.append([name, count(found["fits"][0]["episodes"]), *_order_and_completion(found)])
    rows.append(["required", "", *_required(limits["adapted"])])
    settings = data["settings"]
    note = (
        f"One compact model of {len(data['rows'])} tasks, fitted on {settings['demonstrations']} "
        f"demonstrations and {2 * settings['failures']} failures of each, mode "
        f"`{settings['mode']}`, {seeds(data['seeds'])} of the fit; all figures on other episodes. "
        "Completion: share of attempts that the paper's rule calls success, partial or "
        f"failure as they are. Nothing is trained on these scores. {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def _order_and_completion(row: dict[str, Any]) -> list[str]:
    return [*(decimal(row[name]) for name in ORDER), percent(row["completion"])]


def _required(limits: dict[str, float]) -> list[str]:
    order = [f"≥ {decimal(limits[name])}" if name in limits else "" for name in ORDER]
    return [*order, f"≥ {percent(limits['completion'])}" if "completion" in limits else ""]


def grm_ablation(data: dict[str, Any]) -> str:
    """Rows of benchmarks/grm_ablation.py."""
    rows = []
    for row in data["rows"]:
        reached = [step for step in row["steps_to_80"] if step is not None]
        median = row["median_steps_to_80"]
        rows.append(
            [
                ABLATION[row["name"]],
                spread(row["success"], percent),
                f"{len(reached)} of {row['runs']}",
                "-" if median is None else f"{count(median)}{_range(reached)}",
                spread(row["excess"], signed),
            ]
        )
    header = ("model", "success", "reached 80 %", "steps to 80 %", "potential minus true progress")
    note = (
        f"{training_note(data)} Steps to 80 % of seeds {data['selection_seeds']}, looked at every "
        f"{count(data['evaluate_every_steps'])}; a run that did not get there counts as infinitely "
        f"many. Models: {data['demonstrations']} demonstrations, {data['iterations']} training "
        f"steps, one fit for all seeds. {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def _range(steps: list[int]) -> str:
    return f" ({count(min(steps))} to {count(max(steps))})" if len(set(steps)) > 1 else ""


def reward_hacking(data: dict[str, Any]) -> str:
    """Rows of benchmarks/reward_hacking.py."""
    rows = []
    for row in data["rows"]:
        accepted = [found.get("refreshes_accepted") for found in row["counts"]]
        rows.append(
            [
                WEAK[row["name"]],
                spread(row["success"], percent),
                spread(row["potential"], decimal),
                spread(row["true_progress"], decimal),
                spread(row["excess"], signed),
                spread(row["excess_of_failures"], signed),
                spread(accepted, count),
            ]
        )
    header = (
        "weak model",
        "success",
        "potential",
        "true progress",
        "potential minus true progress",
        "of failures alone",
        "refreshes taken",
    )
    note = (
        f"{training_note(data)} Each seed has a weak model of its own: view "
        f"{', '.join(data['views'])}, {data['demonstrations']} demonstrations, no failure, "
        f"{data['iterations']} training steps; ensembles of {data['members']}."
        f"{_refreshing(data)} {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def _refreshing(data: dict[str, Any]) -> str:
    """How the refreshed arm learned, where the result says so."""
    if "refresh" not in data:
        return ""
    how = data["refresh"]
    return (
        f" Refreshed every {how['every_iterations']} iterations, {how['steps']} training steps; a "
        f"failure keeps {percent(how['discount'])} of the progress seen in it; judged by "
        f"{data['held_out']} demonstrations that neither model was fitted on."
    )


GRM_BUILDERS: dict[str, Builder] = {
    "grm_tasks": grm_tasks,
    "grm_tasks_lift": grm_tasks,
    "grm_ablation": grm_ablation,
    "reward_hacking": reward_hacking,
}
