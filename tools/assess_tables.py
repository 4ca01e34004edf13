"""Tables of how good rewards are."""

from __future__ import annotations

from typing import Any

from figure_tables import Builder, count, decimal, machine, percent, seeds, spread, table


def figure_cell(found: dict[str, Any] | None) -> str:
    """A figure of robo assess with its interval."""
    if found is None or found["value"] is None:
        return "-"
    if found.get("low") is None:
        return decimal(found["value"])
    return f"{decimal(found['value'])} ({decimal(found['low'])} to {decimal(found['high'])})"


def assess_rewards(data: dict[str, Any]) -> str:
    """Rows of benchmarks/assess_rewards.py."""
    rows = []
    for row in data["rows"]:
        if "refused" in row:
            rows.append([row["simulator"], row["reward"], "refused", *["-"] * 5])
            continue
        caught = ", ".join(name.replace("_", " ") for name in row["caught"]) or "none"
        rows.append(
            [
                row["simulator"],
                row["reward"],
                caught,
                decimal(100 * row["loop_income"], sign="+"),
                decimal(100 * row["idle_income"], sign="+"),
                figure_cell(row["auc"]),
                figure_cell(row["voc_plus"]),
                figure_cell(row["false_positive_rate"]),
            ]
        )
    header = (
        "simulator",
        "reward",
        "caught by",
        "loop, % of a success per step",
        "idle, the same",
        "AUC",
        "VOC+",
        "false positives",
    )
    sets = "; ".join(
        f"{name}: {found['successes']} successes and {found['episodes'] - found['successes']} "
        f"failures of {', '.join(found['tasks'])}"
        for name, found in data["episodes"].items()
    )
    note = (
        f"Episodes that no model was fitted on. {sets}. GRM: one compact model per simulator, "
        f"fitted on other episodes. Discount {data['gamma']:g}, time-outs: `bootstrap`; 95 % "
        f"intervals over episodes, of one fit. Nothing is trained on them. {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def reward_wrappers(data: dict[str, Any]) -> str:
    """Rows of benchmarks/reward_wrappers.py: a row per wrapper, a column per fault."""
    faults = list(dict.fromkeys(row["fault"] for row in data["rows"]))
    wrappers = list(dict.fromkeys(row["wrapper"] for row in data["rows"]))
    found = {(row["wrapper"], row["fault"]): row["success"] for row in data["rows"]}
    rows = [
        [wrapper, *(spread(found.get((wrapper, fault), []), percent) for fault in faults)]
        for wrapper in wrappers
    ]
    note = (
        f"{data['task']}, PPO from scratch with {count(data['total_steps'])} steps, "
        f"{seeds(data['seeds'])}: success of the last policy on seeds {data['report_seeds']}, "
        "median (range). The faults are described in the benchmark; rewards read the simulator's "
        f"true progress. Time-outs: `{data['timeout']}`. {machine(data)}."
    )
    return f"{table(('wrapper', *faults), rows)}\n\n{note}"


def distance_regret(data: dict[str, Any]) -> str:
    """Rows of benchmarks/distance_regret.py."""
    rows = [[row["name"].upper(), figure_cell(row)] for row in data["rows"]]
    note = (
        f"Spearman's correlation over {count(data['processes'])} random processes of "
        f"{data['states']} states and {data['actions']} actions, discount {data['gamma']:g}, 95 % "
        f"intervals. The regret is exact. No learning, no time-outs. {machine(data)}."
    )
    return f"{table(('distance', 'correlation with worst-case regret'), rows)}\n\n{note}"


ASSESS_BUILDERS: dict[str, Builder] = {
    "assess_rewards": assess_rewards,
    "reward_wrappers": reward_wrappers,
    "distance_regret": distance_regret,
}
