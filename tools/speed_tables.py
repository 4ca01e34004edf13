"""Tables of how fast reward models answer on a CPU."""

from __future__ import annotations

from typing import Any

from figure_tables import Builder, count, decimal, machine, table


def grm_throughput(data: dict[str, Any]) -> str:
    """Rows of benchmarks/grm_throughput.py for the compact model."""
    rows = [
        [
            row["name"],
            count(round(row["pairs_per_second"])),
            f"{decimal(row['ratio_to_a_call_per_step'], 1)} x",
            f"{decimal(row['ratio_to_our_scorer_a_frame_at_a_time'], 1)} x",
        ]
        for row in data["rows"]
        if row["name"].startswith("compact")
    ]
    header = ("call", "pairs/s", "against the released way", "against our scorer frame by frame")
    note = (
        "Three perspectives a frame, medians. As released: a question a perspective and step, each "
        "with all its pictures, nothing kept from one to the next. Our scorer keeps references, "
        f"the first and the previous frame. One thread. {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def language_goal_throughput(data: dict[str, Any]) -> str:
    """Rows of benchmarks/language_goal_throughput.py on a CPU."""
    rows = [
        [
            row["name"],
            decimal(row["ours"], 1),
            decimal(row["peers"]["one frame per step, as released"], 1),
            decimal(row["peers"]["one frame per step"], 1),
            f"{decimal(row['ratio_to_released'], 2)} x",
            decimal(row["least_cosine_to_fp32"], 5),
        ]
        for row in data["rows"]
    ]
    header = (
        "model",
        "frames/s, batched",
        "one by one, float32",
        "one by one, same precision",
        "batched against float32 one by one",
        "cosine to float32, least",
    )
    note = (
        "Random weights, resize and normalisation included, medians. The released code asks frame "
        "by frame with float32 weights. "
        f"Threads on either side: {data['threads']}. {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


SPEED_BUILDERS: dict[str, Builder] = {
    "grm_throughput": grm_throughput,
    "language_goal_throughput": language_goal_throughput,
}
