"""Tables of driving figures that stand in docs/carla.md."""

from __future__ import annotations

from typing import Any

from figure_tables import Builder, count, decimal, machine, percent, table


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
        "routes finished",
        "route score",
        "minutes",
    )
    note = (
        f"Mean over the routes of seeds {data['report_seeds']}, which neither trained nor selected "
        "the policy; minutes of the whole script. The stand-in server: no CARLA results. "
        f"{machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def server_kills(data: dict[str, Any]) -> str:
    """The run of benchmarks/server_kills.py."""
    row = [
        f"{data['kills']}, every {decimal(data['seconds_between'], 0)} s",
        count(data["servers_seen"]),
        f"{count(data['steps'])} of {count(data['steps_expected'])}",
        "yes" if data["parameters_finite"] and data["figures_finite"] else "no",
        str(data["processes_left"]),
        str(len(data["ports_left"])),
    ]
    header = (
        "servers killed",
        "servers in all",
        "samples",
        "parameters and figures finite",
        "processes left",
        "ports left",
    )
    return f"{table(header, [row])}\n\n{machine(data)}."


DRIVING_BUILDERS: dict[str, Builder] = {
    "driving_smoke": driving_smoke,
    "server_kills": server_kills,
}
