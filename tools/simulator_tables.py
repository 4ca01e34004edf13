"""Tables of robosuite's and LIBERO's figures that stand in docs/robosuite.md."""

from __future__ import annotations

from statistics import median
from typing import Any

from figure_tables import Builder, count, decimal, machine, percent, spread, table, unfinished


def sim_throughput(data: dict[str, Any]) -> str:
    """Rows of benchmarks/sim_throughput.py, and what the fast images differ by."""
    rows = []
    for row in data["rows"]:
        own = f"{_rate(row['ours'])} ({_range(row['spread_ours'])})"
        peer = f"{_rate(row['peers']['as shipped'])} ({_range(row['spread_shipped'])})"
        wanted = f"{_rate(row['target'])}{'' if row['reached'] else ', not reached'}"
        cells = [row["name"], str(row["processes"]), peer, own]
        rows.append([*cells, f"{decimal(row['ratio_to_best'], 1)} x", wanted])
    header = ("environment", "processes", "as shipped, steps/s", "robo, steps/s", "ratio", "wanted")
    repeats = sorted({row["repeats"] for row in data["rows"]})
    note = (
        f"Medians of {' to '.join(map(str, repeats))} runs a side (range), the sides in turn. "
        "As shipped is the simulator's own loop and off-screen rendering; the state row has one "
        f"process with a thread per core on our side.{_looks(data)}{unfinished(data)} "
        f"Nothing is trained. {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def _looks(data: dict[str, Any]) -> str:
    """How far images and progress of the fast profile are from the faithful one."""
    found = [
        camera["mean"]
        for images in data["images"].values()
        if images is not None
        for camera in images["cameras"].values()
    ]
    text = ""
    if found:
        text += (
            " Images of the fast profile differ from the faithful ones by "
            f"{decimal(min(found), 1)} to {decimal(max(found), 1)} of 255 in the mean, by task and "
            "camera."
        )
    progress = data.get("progress")
    if progress is not None:
        text += (
            f" The progress that a GRM reads from them differs by {decimal(progress['mean'], 3)} "
            f"in the mean (95 %: {decimal(progress['p95'], 3)}, worst "
            f"{decimal(progress['worst'], 3)}) over {progress['states']} states of "
            f"{progress['task']}."
        )
    return text


def robosuite_lift(data: dict[str, Any]) -> str:
    """Arms of benchmarks/robosuite_lift.py."""
    names = {"grm": "GRM from pixels, shaped", "success": "sparse success alone"}
    rows = [
        [
            names[name],
            str(arm["runs"]),
            spread(arm["success"], percent),
            spread(arm["steps"], count),
            spread(arm["minutes"], decimal_minutes),
        ]
        for name, arm in data["arms"].items()
    ]
    header = ("reward", "seeds", "success, unseen seeds", "environment steps", "minutes in all")
    note = (
        f"{data['task']}, controller OSC_POSITION, PPO from scratch and from state; median "
        "(range). A run ends once all selection seeds 9000-9099 are solved; success is that of "
        f"{data['runs'][0]['episodes']} other seeds. Minutes are those of demonstrations, reward "
        f"model, PPO and evaluation; wanted: a run to {percent(data['solved'])} within "
        f"{data['limit_minutes']:.0f} minutes, {'met' if data['reached'] else 'not met'}; "
        f"{data['workers']} run{'s' * (data['workers'] != 1)} at a time. Time-out rule `keep`."
        f"{unfinished(data)} {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def libero_improvement(data: dict[str, Any]) -> str:
    """Runs of benchmarks/libero_improvement.py."""
    rows = []
    for run in data["runs"]:
        cells = [run["task"], str(run["seed"])]
        for kind in ("mean", "sampled"):
            before, after = run["before"][kind], run["after"][kind]
            low, high = run["gain"][kind]["interval"]
            cells += [
                f"{percent(before['success_rate'])} to {percent(after['success_rate'])}",
                f"{run['gain'][kind]['points']:+.0f} ({low:+.0f} to {high:+.0f})",
            ]
        rows.append([*cells, count(run["steps"]), decimal_minutes(run["minutes"])])
    header = ("task", "seed", "mean action", "points", "sampled", "points", "steps", "minutes")
    reached = [task for task, own in data["tasks"].items() if own["reached"]]
    first = data["runs"][0]
    middle = median(run["demonstrations"] for run in data["runs"])
    note = (
        f"A policy cloned from {middle:.0f} demonstrations (initial states "
        f"{first['states']['demonstration']}), then PPO shaped by a GRM on states "
        f"{first['states']['training']}; success on states {first['states']['report']}, which "
        "nothing else saw: once by the policy's mean action, and three times sampled. Points "
        "gained with their 95 % interval (Newcombe). Wanted: at least "
        f"{data['target_points']:.0f} points within {data['limit_minutes']:.0f} minutes, "
        f"{'met' if reached else 'not met'}. Time-outs are bootstrapped.{unfinished(data)} "
        f"{machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def decimal_minutes(value: Any) -> str:
    """Minutes to a tenth."""
    return decimal(value, 1)


def _rate(value: float) -> str:
    return count(value) if value >= 100 else decimal(value, 1)


def _range(values: list[float]) -> str:
    low, high = values
    return f"{_rate(low)} to {_rate(high)}"


SIMULATOR_BUILDERS: dict[str, Builder] = {
    "sim_throughput": sim_throughput,
    "robosuite_lift": robosuite_lift,
    "libero_improvement": libero_improvement,
}
"""Name of a results file to its table."""
