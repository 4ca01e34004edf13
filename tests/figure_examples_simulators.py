"""Results of robosuite's and LIBERO's benchmarks, and what the tables made of them must hold."""

from __future__ import annotations

from typing import Any

MACHINE = {"cpu": "some CPU", "cores": 2, "date": "2026-11-30"}
SCORE = {"success_rate": 0.4, "successes": 6, "episodes": 15}

SIMULATOR_EXAMPLES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "sim_throughput": (
        {
            "rows": [
                {
                    "name": "robosuite Lift, 2 cameras, 84 px",
                    "processes": 2,
                    "ours": 121.34,
                    "peers": {"as shipped": 17.96},
                    "ratio_to_best": 6.76,
                    "spread_ours": [110.0, 125.5],
                    "spread_shipped": [17.0, 18.1],
                    "repeats": 5,
                    "target": 130.0,
                    "reached": False,
                }
            ],
            "images": {
                "robosuite/Lift": {"cameras": {"front": {"mean": 1.24}, "wrist": {"mean": 3.07}}},
                "libero/libero_10/0": None,
            },
            "progress": {
                "task": "robosuite-batch/Lift",
                "mean": 0.0123,
                "p95": 0.034,
                "worst": 0.21,
                "states": 90,
            },
            "missing": ["images-libero-10"],
            "machine": MACHINE,
        },
        (
            "| 2 | 18.0 (17.0 to 18.1) | 121 (110 to 126) | 6.8 x | 130, not reached |",
            "1.2 to 3.1 of 255",
            "0.012 in the mean (95 %: 0.034, worst 0.210) over 90 states",
            "Not finished: images-libero-10.",
            "some CPU, 2 cores",
        ),
    ),
    "robosuite_lift": (
        {
            "task": "robosuite-batch/Lift",
            "solved": 0.9,
            "limit_minutes": 25.0,
            "reached": True,
            "arms": {
                "grm": {
                    "runs": 2,
                    "success": [1.0, 0.96],
                    "steps": [143_360, 163_840],
                    "minutes": [12.0, 13.1],
                },
                "success": {"runs": 1, "success": [0.0], "steps": [400_000], "minutes": [5.0]},
            },
            "runs": [{"episodes": 100}],
            "missing": [],
            "workers": 1,
            "machine": MACHINE,
        },
        (
            "| GRM from pixels, shaped | 2 | 98% (96% to 100%) | 153,600 (143,360 to 163,840) |",
            "| sparse success alone | 1 | 0% | 400,000 | 5.0 |",
            "within 25 minutes, met",
            "some CPU",
        ),
    ),
    "libero_improvement": (
        {
            "target_points": 15.0,
            "limit_minutes": 45.0,
            "tasks": {"libero/libero_object/0": {"reached": False}},
            "runs": [
                {
                    "task": "libero/libero_object/0",
                    "seed": 0,
                    "states": {"demonstration": "0-14", "training": "15-32", "report": "33-49"},
                    "demonstrations": 15,
                    "before": {"mean": SCORE, "sampled": SCORE},
                    "after": {
                        "mean": {**SCORE, "success_rate": 0.5},
                        "sampled": {**SCORE, "success_rate": 0.35},
                    },
                    "gain": {
                        "mean": {"points": 10.0, "interval": [-20.2, 38.0]},
                        "sampled": {"points": -5.0, "interval": [-22.0, 12.0]},
                    },
                    "steps": 61_440,
                    "minutes": 41.26,
                }
            ],
            "missing": [],
            "machine": MACHINE,
        },
        (
            "| 0 | 40% to 50% | +10 (-20 to +38) | 40% to 35% | -5 (-22 to +12) | 61,440 | 41.3 |",
            "from 15 demonstrations (initial states 0-14)",
            "within 45 minutes, not met",
            "some CPU",
        ),
    ),
}
