"""Results of the driving benchmarks, and what the tables made of them must hold."""

from __future__ import annotations

from typing import Any

DRIVING_EXAMPLES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "driving_smoke": (
        {
            "runs": [
                {
                    "seed": 3,
                    "steps": 641_024,
                    "untrained": 8.7,
                    "route_completion": 75.8,
                    "collisions": 0.1,
                    "red_lights": 0.2,
                    "off_road": 0.3,
                    "finished": 0.6,
                    "score": 72.2,
                    "minutes": 37.04,
                }
            ],
            "report_seeds": "5000-5009",
            "missing": ["smoke-s1"],
            "machine": "some CPU",
        },
        (
            "| 3 | 641,024 | 9% | 76% | 0.1 | 0.2 | 0.3 | 60% | 72 | 37.0 |",
            "5000-5009",
            "Not finished: smoke-s1.",
        ),
    ),
    "server_kills": (
        {
            "kills": 10,
            "seconds_between": 60.0,
            "servers_seen": 18,
            "seconds_without_server": [2.5, 4.04, 3.0],
            "steps": 200_704,
            "steps_expected": 200_704,
            "parameters_finite": True,
            "figures_finite": False,
            "processes_left": 1,
            "ports_left": [2000, 2001],
            "machine": "some CPU",
        },
        ("| 10, every 60 s | 18 | 4.0 | 200,704 of 200,704 | no | 1 | 2 |",),
    ),
    "carla_standin": (
        {
            "town": "Grid",
            "rows": [
                {
                    "name": "1 vehicle",
                    "ours": 2600,
                    "target": 2500,
                    "met": True,
                    "peers": {"bare msgpack echo": 9000},
                    "spread_ours": [2400, 2700],
                },
                {
                    "name": "bird's-eye view",
                    "unit": "ms per frame, median",
                    "ours": 1.613,
                    "target": 1.5,
                    "met": False,
                    "peers": {},
                    "spread_ours": [1.5, 1.7],
                },
            ],
            "repeats": 5,
            "ticks": 2000,
            "machine": "some CPU",
        },
        (
            "| 1 vehicle | 2,600 (2,400 to 2,700) | 2,500 | yes |",
            "| bird's-eye view | 1.61 ms (1.50 to 1.70) | at most 1.5 ms | no |",
            "echo in Python: 9,000 a second",
        ),
    ),
    "reward_scaling": (
        {
            "rows": [
                {
                    "reward": "route_completion",
                    "minibatch": 4096,
                    "ours": 60.0,
                    "route_completion": [50.0, 70.0],
                    "score": [40.0, 60.0],
                    "collisions": [0.1, 0.3],
                    "seeds": 2,
                }
            ],
            "gain_of_the_large_minibatch": {"route_completion": 12.4, "roach": -3.0},
            "complete": False,
            "settings": {"samples": 150_000, "minibatches": [256, 4096]},
            "machine": "some CPU",
        },
        (
            "| route completion | 4,096 | 60% (50% to 70%) | 50 (40 to 60) | 0.20 | 2 |",
            "route completion +12; roach -3",
            "Not all runs are finished",
        ),
    ),
}
