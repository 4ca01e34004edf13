"""Tables of how good rewards are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from figure_tables import Builder, count, decimal, machine, percent, seeds, spread, table


def figure_cell(found: dict[str, Any] | None) -> str:
    """A figure of robo assess with its interval."""
    if found is None or found["value"] is None:
        return "-"
    if found.get("low") is None:
        return decimal(found["value"])
    return f"{decimal(found['value'])} ({decimal(found['low'])} to {decimal(found['high'])})"


INCOME = ("loop_income", "idle_income")
"""Probes that show no pictures."""


def probes_cell(names: Collection[str], every: Collection[str] = ()) -> str:
    """Names of probes; in short where they are all of ``every`` but those of income."""
    if set(every) - set(INCOME) and set(names) == set(every) - set(INCOME):
        return "all pictures"
    return ", ".join(name.replace("_", " ") for name in names) or "none"


def assess_rewards(data: dict[str, Any]) -> str:
    """Rows of benchmarks/assess_rewards.py."""
    every = data.get("probes")  # earlier results do not tell which of them did not apply
    told = every is not None
    rows = []
    for row in data["rows"]:
        if "refused" in row:
            rows.append([row["simulator"], row["reward"], "refused", *["-"] * (5 + told)])
            continue
        apart = [probes_cell(row["not_applicable"], every)] if every else []
        rows.append(
            [
                row["simulator"],
                row["reward"],
                probes_cell(row["caught"]),
                *apart,
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
        *(["not applicable"] if told else []),
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
        f"intervals over episodes, of one fit. Nothing is trained on them. {_stand_ins(data)} "
        f"{machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def _stand_ins(data: dict[str, Any]) -> str:
    """What the names of the rewards do not say of how they were made, or could be judged."""
    there = {(row["simulator"], row["reward"]) for row in data["rows"]}
    said = []
    if any(reward in ("SRPO", "success") for _, reward in there):
        said.append(
            "Success reads the simulator's success bit, and so does SRPO, which pays a success "
            "exactly 1 and a failure 0.8 at most: their AUC and false positives follow from that, "
            "and no picture probe can catch them. SRPO embeds videos by their raw pixels here, "
            "not by a fitted video encoder."
        )
    if ("mujoco", "route completion") in there:
        said.append("Route completion takes the simulator's true progress for its route on mujoco.")
    if ("libero", "route completion") in there:
        said.append(
            "On LIBERO it takes the share of the goal's predicates; this goal has one, so that it "
            "is the success bit there."
        )
    if all(row.get("language_accuracy") is None for row in data["rows"]):
        said.append(
            "Whether a reward tells instructions apart is not measured: every simulator has one "
            "task here."
        )
    return " ".join(said)


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
        "median (range). The reward is success and a dense part read from the simulator's true "
        f"progress p, which pays by fault: {_faults(data)}. Time-outs: "
        f"`{data['timeout']}`. {machine(data)}."
    )
    return f"{table(('wrapper', *faults), rows)}\n\n{note}"


def _faults(data: dict[str, Any]) -> str:
    """What each fault is."""
    # Results that do not tell are of an earlier benchmark, with these.
    told = data.get("faults") or {
        "farmable": "p itself at every step",
        "hill": "p at every step, and 3 where p is 0.45 to 0.55 (so that it can be farmed as well)",
        "spikes": "0.2 of the change of p, and an error of standard deviation 20 in 1 % of the "
        "steps",
        "accurate": "the change of p",
    }
    return "; ".join(f"{name}, {what}" for name, what in told.items())


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
