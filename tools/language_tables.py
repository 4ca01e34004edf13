"""Tables of goals in words that stand in docs/language_goals.md."""

from __future__ import annotations

from typing import Any

from figure_tables import Builder, count, decimal, machine, percent, spread, table


def domain_clip(data: dict[str, Any]) -> str:
    """Rows of benchmarks/domain_clip.py: a row per set of held-out frames."""
    rows, wanted = [], set()
    for row in data["rows"]:
        shown = ", ".join(
            f"{name.replace('_', ' ')} {count(number)}" for name, number in row["frames"].items()
        )
        wanted.add(decimal(row["wanted"]))
        single = row["single_sentences"]
        cells = [row["ours"], single and single["worst"], row["trained_wording"]]
        rows.append([row["name"], *("-" if c is None else decimal(c, 3) for c in cells), shown])
    header = ("frames of", "unread wording", "its worst pair", "trained wording", "frames")
    note = (
        "Area under the ROC curve by which the contrast tells the goal's frames (clear road; held) "
        "from its opposite's (imminent collision; on the table): episodes and sentences that no "
        "model was fitted on. Unread wording: paraphrases averaged; its worst pair: of single "
        f"sentences. Wanted: {', '.join(sorted(wanted))}. {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def language_goal_memory(data: dict[str, Any]) -> str:
    """The figure of benchmarks/language_goal_memory.py, and what others would take."""
    row = data["rows"][0]
    steps = data["extrapolated"]["steps"]
    kept = {f"robo, {row['name']}": row["ours"], **row["peers"]}
    rows = [
        [name, count(round(size)), decimal(size * steps / 1e9, 1)] for name, size in kept.items()
    ]
    header = ("replay buffer", "bytes per step", f"GB for {count(steps)} steps")
    note = (
        f"Growth of the process over {count(data['steps'])} steps of the stand-in, extrapolated; "
        f"what others take follows from their arrays. {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def language_goal_table(data: dict[str, Any]) -> str:
    """Rows of benchmarks/language_goal_table.py: a row per reward, the paper's five figures."""
    shown = {
        "average_speed": lambda value: decimal(value, 1),
        "route_completion": decimal,
        "total_distance": count,
        "collision_speed": lambda value: decimal(value, 1),
        "success_rate": percent,
    }
    rows = [
        [row["name"], str(row["seeds"]), *(spread(row[name], shown[name]) for name in shown)]
        for row in data["rows"]
    ]
    header = (
        "reward",
        "seeds",
        "speed, km/h",
        "route completion",
        "distance, m",
        "collision speed, km/h",
        "success",
    )
    missing = f" Not run yet: {', '.join(data['missing'])}." if data["missing"] else ""
    note = (
        f"{data['algorithm'].upper()}, {count(data['steps'])} steps each in {data['task']}; ten "
        "fixed routes that training has not seen, the mean of the policy's actions; median over "
        f"seeds (range).{missing} {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


LANGUAGE_BUILDERS: dict[str, Builder] = {
    "domain_clip": domain_clip,
    "language_goal_memory": language_goal_memory,
    "language_goal_table": language_goal_table,
}
"""Name of the JSON file, and of the block in a page, to the table's builder."""
