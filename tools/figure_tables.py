"""The README's tables, each a function from a benchmark's JSON object to Markdown.

Every table says how many seeds or runs it rests on, their spread, the time-out rule and the
machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

Builder = Callable[[dict[str, Any]], str]


class FigureError(Exception):
    """Figures that no table can be made from; the text is one sentence."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are set to the right."""
    if not rows:
        raise FigureError("holds no rows")
    align = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, align, *rows))


def count(value: Any) -> str:
    """A whole number with thousands separators; a dash where there is none."""
    return "-" if value is None else f"{round(value):,}"


def percent(value: Any, digits: int = 0) -> str:
    """A share as a percentage; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}%}"


def decimal(value: Any, digits: int = 2, sign: str = "") -> str:
    """A number; a dash where there is none."""
    return "-" if value is None else f"{value:{sign}.{digits}f}"


def spread(values: Sequence[Any], show: Callable[[Any], str]) -> str:
    """The median of the known values and their range."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    low, high = show(min(known)), show(max(known))
    middle = show(median(known))
    return middle if low == high else f"{middle} ({low} to {high})"


def machine(data: dict[str, Any]) -> str:
    """What the figures were measured on."""
    found = data.get("machine")
    if isinstance(found, str):
        found = {"cpu": found}
    found = dict(found or {})
    versions = {**found, **data.get("versions", {})}
    cores = found.get("cores")
    parts = [
        found.get("cpu") or "processor not recorded",
        f"{cores} cores" if cores else "",
        f"device {found['device']}" if found.get("device", "cpu") != "cpu" else "",
        *(f"{name} {versions[name]}" for name in ("torch", "mujoco") if versions.get(name)),
        str(found.get("date") or data.get("date") or ""),
    ]
    return ", ".join(part for part in parts if part)


def seeds(values: Sequence[int]) -> str:
    """Seeds in words."""
    return f"{len(values)} seed{'s' * (len(values) != 1)} ({', '.join(map(str, values))})"


def unfinished(data: dict[str, Any]) -> str:
    """Which runs of the plan are not in the table."""
    missing = data.get("missing") or []
    return f" Not finished: {', '.join(missing)}." if missing else ""


ARMS = {
    "grm_keep": "GRM from pixels, shaped",
    "true_keep": "true progress, shaped (upper bound)",
    "grm_strict": "GRM from pixels, shaped",
    "true_strict": "true progress, shaped (upper bound)",
    "naive": "GRM, plain difference (no gamma, no terminal rule)",
    "sparse": "sparse success alone",
}


def steps_to_90(arm: dict[str, Any], limit: int) -> str:
    """Median and range over the runs of one arm; a run that did not get there shows its limit."""
    limits = arm.get("censored_at") or []
    if arm["median_steps_to_90"] is None:
        return f"not within {count(median(limits or [limit]))}"
    known = [steps for steps in arm["steps_to_90"] if steps is not None]
    high = f"> {count(max(limits))}" if limits else count(max(known))
    return f"{count(arm['median_steps_to_90'])} ({count(min(known))} to {high})"


def shaping_value(data: dict[str, Any]) -> str:
    """Arms of benchmarks/shaping_value.py."""
    settings = data["settings"]
    rows = []
    for name, arm in data["arms"].items():
        steps = steps_to_90(arm, settings["total_steps"])
        rows.append(
            [
                ARMS.get(name, name),
                f"`{arm['timeout']}`",
                f"{arm['reached_90']} of {arm['runs']}",
                steps,
                decimal(arm.get("ratio_to_true_progress")),
                spread(arm["success"], percent),
                decimal(arm.get("worst_hacking_excess"), sign="+"),
            ]
        )
    header = (
        "reward",
        "time-outs",
        "reach 90 %",
        "steps to 90 %: median (range)",
        "relative to true progress (`keep`)",
        "success, unseen seeds: median (range)",
        "potential minus true progress, worst",
    )
    factor = settings.get("sparse_factor", 1)
    missing = data.get("missing") or []
    names = [str(run.get("name", "")) for run in data.get("runs", ())]
    fits = {found[1] for name in names if (found := re.search(r"-g(\d+)-", name))}
    note = (
        f"{data['task']}, the same PPO from scratch for every row, {seeds(settings['seeds'])}, "
        f"{f'{len(fits)} fitted GRMs, each' if len(fits) > 1 else 'one fitted GRM'} with all "
        f"seeds, at "
        f"most {count(settings['total_steps'])} environment steps each ({factor} times that for "
        f"sparse). Steps to 90 % are those at which the selection seeds "
        f"{settings['selection_seeds']} are first solved to 90 % (looked at every "
        f"{count(settings['evaluate_every_steps'])} steps); success is that of the selected "
        f"policy on seeds {settings['report_seeds']}. The last column is the mean over the "
        f"episodes of the last iterations. {machine(data)}."
    )
    if missing:
        note += f" Not finished: {len(missing)} runs."
    return f"{table(header, rows)}\n\n{note}"


QUALITY = {
    "voc_plus": ("value-order correlation, forwards", "demos"),
    "voc_minus": ("value-order correlation, backwards", "demos"),
    "auc": ("AUC of success against failure, lengths matched", "failures"),
    "auc_lengths_unmatched": ("the same, failures at their full length", "failures"),
    "spearman_true": ("Spearman with true progress", "off_demo"),
    "difference_correlation_true": ("correlation of 5-step differences with true ones", "off_demo"),
    "mean_final_excess": ("mean of potential minus true progress at the end", "off_demo"),
}
SETS = {
    "demos": "held-out demonstrations",
    "failures": "demonstrations against failures",
    "off_demo": "off the demonstrations",
}


def grm_quality(data: dict[str, Any]) -> str:
    """Figures of benchmarks/grm_quality.py."""
    grms = data["grms"]
    first, limits = next(iter(grms.values())), data.get("limits", {})
    rows = []
    for name, (label, where) in QUALITY.items():
        if name not in first:
            continue
        low, high = first.get("intervals", {}).get(name, (None, None))
        cells = [
            label,
            SETS[where],
            f"{decimal(first[name])} ({decimal(low)} to {decimal(high)})",
            f"≥ {decimal(limits[name])}" if name in limits else "-",
        ]
        if len(grms) > 1:
            cells.insert(3, spread([grm[name] for grm in grms.values()], decimal))
        rows.append(cells)
    header = ["figure", "episodes", "value (95 % interval)", "wanted"]
    if len(grms) > 1:
        header.insert(3, f"{len(grms)} fits: median (range)")
    kinds = first.get("auc_by_kind", {})
    against = ", ".join(f"{kind} {decimal(auc)}" for kind, auc in kinds.items())
    sets = data.get("sets", {})
    sizes = ", ".join(f"{SETS[name]} {sum(sets[name].values())}" for name in SETS if name in sets)
    note = (
        f"{data['task']}, mode `{data['mode']}`, a frame every {data['stride']} steps; "
        f"{len(grms)} fit{'s' * (len(grms) > 1)}. Episodes: {sizes.replace(' against', ' and')}. "
        f"AUC by kind of failure: {against or 'not recorded'}. Intervals resample episodes and "
        f"hold for one fit. Nothing is trained on these figures; no time-out rule. "
        f"{machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def ppo_throughput(data: dict[str, Any]) -> str:
    """Rows of benchmarks/ppo_throughput.py, a table for each choice of cores."""
    modes: dict[str, list[list[str]]] = {}
    first = data["rows"][0]
    peers = [str(name) for name in first["peers"]]
    for row in data["rows"]:
        work = row.get("workload", {}).get("name", row["name"])
        cells = [work, "Sync" if row.get("table") == "sync" else "each its best"]
        for side in ("ours", *peers):
            figure = row["ours"] if side == "ours" else row["peers"].get(side)
            some = row.get("cpu", {}).get(side, {})
            around = f" ({count(some['low'])} to {count(some['high'])})" if some else ""
            cells.append(f"{count(figure)}{around}")
        low, high = row.get("ratio_range") or (None, None)
        cells.append(f"{decimal(row['ratio_to_best'])} ({decimal(low)} to {decimal(high)})")
        cells.append(decimal(row.get("ratio_wall")))
        modes.setdefault(row.get("mode", "free"), []).append(cells)
    header = ("workload", "environments", "robo", *peers, "ratio", "ratio by wall time")
    titles = {
        "free": "A process may use all cores, as a user starts it:",
        "pinned": "Every process and its threads on one core, which spares jax its threads:",
    }
    tables = [f"{titles[mode]}\n\n{table(header, rows)}" for mode, rows in modes.items()]
    versions = data.get("versions", {})
    named = ", ".join(f"{name} {versions[name]}" for name in peers if name in versions)
    note = (
        "Environment steps per CPU second of the process, training included: median (range) of "
        f"{first.get('runs')} interleaved runs, told to use one thread, equal networks and "
        f"hyper-parameters; the ratio is to the best of the others. {named}. Nothing is shaped; "
        f"time-outs: `bootstrap` on all sides (rsl_rl's from the state before). {machine(data)}."
    )
    return "\n\n".join((*tables, note))


def ppo_sample_efficiency(data: dict[str, Any]) -> str:
    """Rows of benchmarks/ppo_sample_efficiency.py."""
    rows, used = [], []
    for row in data["rows"]:
        runs = row["runs"]
        used = [run["seed"] for run in runs]
        each = ", ".join(
            count(run["steps"]) if run["solved"] else f"> {count(run['steps'])}" for run in runs
        )
        quoted = ", ".join(f"{count(steps)} ({name})" for name, steps in row["peers"].items())
        rows.append([row["name"], count(row["ours"]), each, quoted])
    header = ("task", "median steps until solved", "each seed", "quoted")
    note = (
        f"{seeds(used)}. Solved: the mean return of the last 50 training episodes reaches 475 on "
        "CartPole-v1, -250 on Pendulum-v1; '>' marks a run that did not get there. The quoted "
        "figures are from one earlier measurement, not from the same run. Nothing is shaped; "
        f"time-outs: `bootstrap`. {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def lift_throughput(data: dict[str, Any]) -> str:
    """Rows of benchmarks/lift_throughput.py."""
    rows = []
    for row in data["rows"]:
        (name, bare), *_ = row["peers"].items()
        sides = (("spread_ours", row["ours"]), (f"spread_{name.split()[-1]}", bare))
        cells = [
            f"{count(figure)} ({count(row[key][0])} to {count(row[key][1])})"
            if row.get(key)
            else count(figure)
            for key, figure in sides
        ]
        rows.append([row["name"], *cells, percent(row["ratio_to_best"])])
    header = ("workload", "end to end", "bare physics", "share")
    note = (
        f"{data.get('unit', 'environment steps per second')} (range), "
        f"{data.get('repeats', 'several')} interleaved runs of each side. From state, sparse "
        f"success, no camera, nothing shaped; time-outs: `keep`. {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


DATA_SIDES = (
    "store",
    "store, cache",
    "hdf5 lzf",
    "hdf5 lzf, no cache",
    "hdf5 gzip 4, no cache",
    "lerobot video",
    "lerobot image",
)
"""Sides that README shows; the file has more of them."""


def data_throughput(data: dict[str, Any]) -> str:
    """Rows of benchmarks/data_throughput.py: a line per side that a reader would choose between."""
    rows = []
    for row in data["rows"]:
        for side, (low, high) in row["spread"].items():
            if side not in DATA_SIDES:
                continue
            kept = row["memory_megabytes"].get(side)
            rows.append(
                [
                    row["name"],
                    _stored_by(side),
                    f"{count(row['rates'][side])} ({count(low)} to {count(high)})",
                    "" if kept is None else count(kept),
                    count(row["write"][side]),
                    decimal(row["megabytes"][side], 1),
                ]
            )
    header = (
        "pictures",
        "stored by",
        "windows, rows per second",
        "memory, MB",
        "written per second",
        "MB on disk",
    )
    sets = "; ".join(
        f"{row['name']}: {row['episodes']} episodes, {count(row['steps'])} steps"
        for row in data["rows"]
    )
    ratios = "; ".join(
        f"{row['name']}: {decimal(row['ratio_to_hdf5_lzf'], 1)} times HDF5 with lzf where neither "
        f"keeps decoded chunks, {decimal(row['ratio_to_hdf5_lzf_as_it_comes'], 1)} times as both "
        f"come, {decimal(row['ratio_to_hdf5_lzf_cached'], 1)} times where both keep them, "
        f"at {decimal(row['bytes_to_hdf5_lzf'])} of its bytes"
        for row in data["rows"]
    )
    decoders = {
        row["lerobot_decoder"]["used"] for row in data["rows"] if row.get("lerobot_decoder")
    }
    decoded = f" LeRobot decodes video by {' and '.join(sorted(decoders))}." if decoders else ""
    note = (
        f"Demonstrations of `{data['task']}` in long episodes ({sets}), {len(data['views'])} views "
        f"of {data['size']} x {data['size']}. A row is one state's views, state and action; "
        f"windows of 8 at random from all episodes, {count(data['windows'])} per repetition, "
        f"{data['repeats']} interleaved repetitions, one process, one thread, warm page cache; "
        "median (range). HDF5 keeps 8 MB of decoded chunks of each data set (its default) unless "
        "the line says otherwise, the store nothing unless it says cache, which is then as many "
        f"bytes in all; memory is what the process grew by while it read. {ratios}.{decoded} Other "
        f"codecs, chunks and plain files are in the result's JSON. Nothing is trained. "
        f"{machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def _stored_by(side: str) -> str:
    """The store's sides are called by their coding; its default is not named by the benchmark."""
    if not side.startswith("store"):
        return side
    how = side.removeprefix("store")
    return f"robo,{how}" if how.startswith(" ") else f"robo, lz4hc{how}"


def demo(data: dict[str, Any]) -> str:
    """The results of ``robo demo``, one column per seed."""
    runs = data["runs"]
    rows = [["success on 100 unseen seeds"], ["95 % interval"], ["environment steps"]]
    rows += [[f"{name}, seconds"] for name in runs[0]["stages"]]
    rows.append(["all stages, seconds"])
    for run in runs:
        low, high = run["interval"]
        figures = [
            percent(run["success_shaped"]),
            f"{percent(low, 1)} to {percent(high, 1)}",
            count(run["environment_steps"]),
            *(decimal(taken, 0) for taken in run["stages"].values()),
            decimal(sum(run["stages"].values()), 0),
        ]
        for row, text in zip(rows, figures, strict=True):
            row.append(text)
    first = runs[0]
    note = (
        f"`{first['task']}`, one whole run per seed of data, reward model and policy; time-out "
        f"rule `{first['timeout']}`. Seeds {first['selection_seeds']} stopped the run and chose "
        f"the policy; seeds {first['seeds']} are the ones reported. Wall time, installation "
        f"apart. {machine(data)}."
    )
    heads = ("", *(f"seed {run['seed']}" for run in runs))
    return f"{table(heads, rows)}\n\n{note}"


BUILDERS: dict[str, Builder] = {
    "demo": demo,
    "shaping_value": shaping_value,
    "grm_quality": grm_quality,
    "ppo_throughput": ppo_throughput,
    "ppo_sample_efficiency": ppo_sample_efficiency,
    "lift_throughput": lift_throughput,
    "data_throughput": data_throughput,
}
