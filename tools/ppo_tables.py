"""Tables of PPO's figures that stand in the docs pages."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from figure_tables import Builder, count, decimal, machine, percent, seeds, table


def carl_network(data: dict[str, Any]) -> str:
    """Rows of benchmarks/carl_network.py."""
    rows = []
    for row in data["rows"]:
        (_, plain), *_ = row["peers"].items()
        large = row["extrapolated"]
        rows.append(
            [
                row["name"],
                f"{decimal(row['ours'], 1)} s",
                f"{decimal(plain, 1)} s",
                f"{decimal(row['convolution_limit'], 1)} s",
                percent(row["of_convolution_limit"]),
                f"{decimal(large['ours_minutes'], 0)} min ({decimal(large['plain_minutes'], 0)}, "
                f"{decimal(large['convolution_limit_minutes'], 0)})",
            ]
        )
    header = ("update", "robo", "plain PyTorch loop", "convolutions alone", "share", "65,536 x 3")
    note = (
        f"Seconds per update, median of {data['rows'][0]['runs']}, one thread; ours in "
        f"{data['rows'][0]['precision']}, the plain loop in float32. The last column is "
        "extrapolated to CaRL's batch and epochs (in parentheses the plain loop, and the "
        f"convolutions alone). {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def ppo_learning_curves(data: dict[str, Any]) -> str:
    """Rows of benchmarks/ppo_learning_curves.py."""
    names = list(data["rows"][0]["range"])
    rows = []
    for row in data["rows"]:
        cells = [f"{row['name']}, {count(row['steps'])} steps"]
        for name in names:
            low, high = row["range"][name]
            mean = fmean(row["finals"][name])
            cells.append(f"{decimal(mean, 0)} ({decimal(low, 0)} to {decimal(high, 0)})")
        cells.append("yes" if row["within_peers_spread"] else "no")
        cells.append(", ".join(decimal(value) for value in row["permutation_p"].values()))
        rows.append(cells)
    peers = ", ".join(data["rows"][0]["permutation_p"])
    header = ("task", *names, "mean in the others' range", f"p against {peers}")
    note = (
        "Mean return of the training episodes that ended in the last tenth of a run: mean over "
        f"{seeds(data['seeds'])} (range). p: {data['test']}. Nothing is shaped; time-outs: "
        f"`bootstrap`. {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def batch_scaling(data: dict[str, Any]) -> str:
    """Rows of benchmarks/batch_scaling.py, one per batch, a column per learning-rate rule."""
    first = data["rows"][0]
    rules = [rule for rule in ("none", "sqrt", "linear") if _rows(data, rule=rule)]
    rows = []
    for task in dict.fromkeys(row["task"] for row in data["rows"]):
        for batch in sorted({row["batch"] for row in _rows(data, task=task)}):
            cells = [task, count(batch)]
            cells += [
                _scaling_cell(_rows(data, task=task, batch=batch, rule=rule)) for rule in rules
            ]
            rows.append(cells)
    titles = {"none": "rate kept", "sqrt": "rate x square root", "linear": "rate x size"}
    header = ("task", "batch", *(titles[rule] for rule in rules))
    note = (
        "Return of the deterministic policy on other seeds, mean over "
        f"{seeds(data['seeds'])} (worst to best), and the median wall seconds until the last 50 "
        f"training episodes reach {count(first['threshold'])} (- : fewer than half of the runs "
        f"got there); {count(first['samples'])} steps each, {data['minibatches']} minibatches, "
        f"{data['epochs']} epochs. The learning rate grows with the minibatch by the column's "
        f"rule. Nothing is shaped; time-outs: `bootstrap`. {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def _rows(data: dict[str, Any], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in data["rows"] if all(row[key] == wanted[key] for key in wanted)]


def _scaling_cell(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    row = rows[0]
    low, high = min(row["returns"]), max(row["returns"])
    wall = row["wall_to_threshold"]
    seconds = "-" if wall is None else f"{decimal(wall, 1)} s"
    return f"{decimal(row['ours'], 0)} ({decimal(low, 0)} to {decimal(high, 0)}), {seconds}"


PPO_BUILDERS: dict[str, Builder] = {
    "carl_network": carl_network,
    "ppo_learning_curves": ppo_learning_curves,
    "batch_scaling": batch_scaling,
}
