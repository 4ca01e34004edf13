"""Tables of driving figures that stand in docs/carla.md."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from figure_tables import Builder, count, decimal, machine, percent, spread, table, unfinished


def driving_smoke(data: dict[str, Any]) -> str:
    """Rows of benchmarks/driving_smoke.py."""
    rows = [
        [
            str(row["seed"]),
            count(row["steps"]),
            percent(row["untrained"] / 100),
            percent(row["route_completion"] / 100),
            decimal(row["collisions"], 1),
            decimal(row["red_lights"], 1),
            decimal(row["off_road"], 1),
            percent(row["finished"]),
            decimal(row["score"], 0),
            decimal(row["minutes"], 1),
        ]
        for row in data["runs"]
    ]
    header = (
        "seed",
        "steps",
        "completion, untrained",
        "completion",
        "collisions a route",
        "red lights a route",
        "off the road a route",
        "routes finished",
        "route score",
        "minutes",
    )
    note = (
        f"Mean over the routes of seeds {data['report_seeds']}, which neither trained nor selected "
        "the policy; minutes of the whole script. The stand-in server: no CARLA results. "
        f"{machine(data)}.{unfinished(data)}"
    )
    return f"{table(header, rows)}\n\n{note}"


def server_kills(data: dict[str, Any]) -> str:
    """The run of benchmarks/server_kills.py."""
    outages = data.get("seconds_without_server")
    row = [
        f"{data['kills']}, every {decimal(data['seconds_between'], 0)} s",
        count(data["servers_seen"]),
        decimal(max(outages) if outages else None, 1),
        f"{count(data['steps'])} of {count(data['steps_expected'])}",
        "yes" if data["parameters_finite"] and data["figures_finite"] else "no",
        str(data["processes_left"]),
        str(len(data["ports_left"])),
    ]
    header = (
        "servers killed",
        "servers in all",
        "longest without a server, s",
        "samples",
        "parameters and figures finite",
        "processes left",
        "ports left",
    )
    return f"{table(header, [row])}\n\n{machine(data)}."


def carla_standin(data: dict[str, Any]) -> str:
    """Rows of benchmarks/carla_standin.py."""
    rows = []
    for row in data["rows"]:
        # Milliseconds a frame, where a row names them; otherwise how many a second.
        slow = row.get("unit", "").startswith("ms")
        ours, low, high = (
            decimal(value) if slow else count(value) for value in (row["ours"], *row["spread_ours"])
        )
        rows.append(
            [
                row["name"],
                f"{ours}{' ms' * slow} ({low} to {high})",
                f"at most {decimal(row['target'], 1)} ms" if slow else count(row["target"]),
                "yes" if row["met"] else "no",
            ]
        )
    header = ("case", "per second, median (range)", "wanted", "met")
    echo = next((row["peers"]["bare msgpack echo"] for row in data["rows"] if row["peers"]), None)
    scale = "" if echo is None else f" A bare msgpack echo in Python: {count(echo)} a second."
    note = (
        f"Town {data['town']}, synchronous, 0.05 s a tick, {data['repeats']} runs of "
        f"{count(data['ticks'])} ticks, those with cameras, the TrafficManager or the environment "
        f"a quarter.{scale} {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def reward_scaling(data: dict[str, Any]) -> str:
    """Rows of benchmarks/reward_scaling.py."""

    def points(value: float) -> str:
        return percent(value / 100)

    rows = [
        [
            row["reward"].replace("_", " "),
            count(row["minibatch"]),
            f"{points(row['ours'])} ({points(min(each))} to {points(max(each))})",
            spread(row["score"], count),
            decimal(fmean(row["collisions"]), 2),
            str(row["seeds"]),
        ]
        for row in data["rows"]
        for each in [row["route_completion"]]
    ]
    header = (
        "reward",
        "minibatch",
        "completion, mean (range)",
        "route score, median (range)",
        "collisions a route",
        "seeds",
    )
    gains = "; ".join(
        f"{reward.replace('_', ' ')} {decimal(gain, 0, '+')}"
        for reward, gain in data["gain_of_the_large_minibatch"].items()
    )
    settings = data["settings"]
    note = (
        f"{count(settings['samples'])} steps each, {count(max(settings['minibatches']))} samples a "
        "rollout, the learning rate grows with the root of the minibatch; routes that nothing "
        f"trained on. Gain of the large minibatch, points of completion: {gains or '-'}. Weights "
        "of value and entropy (0.02, 0.001) are the smoke preset's throughout: tuned for the "
        "returns of route completion, where Roach's have another scale. Roach's reward here lacks "
        "the -1 at time-outs and finished routes, its end of episodes far beside the route, and "
        "its exploration loss. The stand-in server: no CARLA results. "
        f"{machine(data)}.{'' if data['complete'] else ' Not all runs are finished.'}"
    )
    return f"{table(header, rows)}\n\n{note}"


DRIVING_BUILDERS: dict[str, Builder] = {
    "carla_standin": carla_standin,
    "reward_scaling": reward_scaling,
    "driving_smoke": driving_smoke,
    "server_kills": server_kills,
}
