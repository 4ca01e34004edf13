"""Results as the benchmarks write them, and what the tables made of them must hold."""

from __future__ import annotations

from typing import Any

from tests.figure_examples_driving import DRIVING_EXAMPLES
from tests.figure_examples_simulators import SIMULATOR_EXAMPLES
from tests.figure_examples_speed import SPEED_EXAMPLES

ROW = {
    "name": "HalfCheetah",
    "ours": 2000.0,
    "peers": {"other": 1000.0},
    "ratio_to_best": 2.0,
    "ratio_range": [1.8, 2.2],
    "runs": 5,
    "cpu": {"ours": {"median": 2000.0, "low": 1900.0, "high": 2100.0}},
}
ORDER = {
    "voc_plus": 0.96,
    "voc_plus_incremental": 0.97,
    "voc_minus": 0.91,
    "auc": 0.99,
    "auc_matched_lengths": 0.98,
    "completion": 0.92,
}
TRAINING = {
    "task": "mujoco/Lift",
    "timeout": "keep",
    "seeds": [0, 1, 2],
    "total_steps": 300_000,
    "demonstrations": 30,
    "iterations": 400,
    "evaluate_every_steps": 19_200,
    "selection_seeds": "9000-9099",
    "report_seeds": "5000-5099",
}
RUNS = [{"seed": 0, "steps": 33_792, "solved": True}, {"seed": 1, "steps": 59_904, "solved": False}]
EXAMPLES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "demo": (
        {
            "runs": [
                {
                    "task": "mujoco/Lift",
                    "success_shaped": 0.98,
                    "interval": [0.93, 0.9945],
                    "seeds": "6000-6099",
                    "selection_seeds": "9000-9099",
                    "seed": seed,
                    "environment_steps": 96_000,
                    "timeout": "keep",
                    "stages": {"collect": 17.2, "fit": 71.0},
                }
                for seed in (0, 1)
            ],
            "machine": {"cpu": "some CPU", "cores": 2, "date": "2026-11-22"},
        },
        (
            "| 98% | 98% |",
            "93.0% to 99.5%",
            "96,000",
            "`keep`",
            "| fit, seconds | 71 | 71 |",
            "6000-6099",
            "some CPU",
        ),
    ),
    "ppo_throughput": (
        {"rows": [ROW], "machine": "some CPU", "versions": {"torch": "2.14.1", "other": "1.0"}},
        ("2,000 (1,900 to 2,100)", "2.00 (1.80 to 2.20)", "some CPU", "torch 2.14.1", "other 1.0"),
    ),
    "ppo_sample_efficiency": (
        {
            "rows": [
                {"name": "gym/CartPole-v1", "ours": None, "peers": {"other": 39_128}, "runs": RUNS}
            ]
        },
        ("| - |", "33,792, > 59,904", "39,128 (other)", "2 seeds (0, 1)"),
    ),
    "lift_throughput": (
        {
            "rows": [
                {
                    "name": "Lift",
                    "ours": 4000,
                    "peers": {"bare physics": 8000},
                    "ratio_to_best": 0.5,
                    "spread_ours": [3900, 4100],
                    "spread_physics": [7900, 8100],
                }
            ],
            "machine": {"cpu": "some CPU", "cores": 2, "date": "2026-11-22"},
        },
        ("4,000 (3,900 to 4,100)", "8,000 (7,900 to 8,100)", "50%", "some CPU, 2 cores"),
    ),
    "grm_quality": (
        {
            "task": "mujoco/Lift",
            "mode": "backward",
            "stride": 5,
            "limits": {"auc": 0.95},
            "sets": {"demos": {"LiftExpert": 60}, "failures": {"drop": 40, "knock": 40}},
            "grms": {
                "grm-0": {
                    "auc": 0.97,
                    "spearman_true": 0.81,
                    "intervals": {"auc": [0.95, 0.99]},
                    "auc_by_kind": {"drop": 0.96},
                }
            },
        },
        ("0.97 (0.95 to 0.99) | ≥ 0.95", "0.81 (- to -)", "drop 0.96", "failures 80", "1 fit"),
    ),
    "assess_rewards": (
        {
            "gamma": 0.99,
            "episodes": {"mujoco": {"episodes": 40, "successes": 20, "tasks": ["mujoco/Lift"]}},
            "rows": [
                {
                    "simulator": "mujoco",
                    "reward": "naive:progress",
                    "caught": ["loop_income", "idle_income"],
                    "not_applicable": [],
                    "loop_income": 0.03,
                    "idle_income": 0.05,
                    "auc": {"value": 0.98, "low": 0.9, "high": 1.0},
                    "voc_plus": {"value": 0.95, "low": None, "high": None},
                    "false_positive_rate": {"value": None},
                },
                {
                    "simulator": "mujoco",
                    "reward": "SRPO",
                    "caught": [],
                    "not_applicable": ["near_miss"],
                    "loop_income": 0.0,
                    "idle_income": 0.0,
                    "auc": {"value": 1.0},
                    "voc_plus": {"value": 0.3},
                    "false_positive_rate": {"value": 0.0},
                },
                {"simulator": "libero", "reward": "route completion", "refused": "no signals"},
            ],
            "probes": ["near_miss", "loop_income", "idle_income"],
        },
        (
            "| loop income, idle income | none | +3.00 | +5.00 | 0.98 (0.90 to 1.00) | 0.95 | - |",
            "| SRPO | none | all pictures | +0.00",
            "raw pixels",
            "success bit there",
            "one task here",
            "| route completion | refused",
            "20 successes and 20 failures of mujoco/Lift",
        ),
    ),
    "reward_wrappers": (
        {
            "task": "mujoco/Reach",
            "total_steps": 100_000,
            "seeds": [0, 1],
            "report_seeds": "5000-5099",
            "timeout": "keep",
            "rows": [
                {"wrapper": "none", "fault": "farmable", "success": [0.1, 0.2, 0.0]},
                {"wrapper": "delta", "fault": "farmable", "success": [1.0, 1.0, 1.0]},
                {"wrapper": "delta", "fault": "false goal", "success": [0.5]},
            ],
            "faults": {"farmable": "p itself at every step", "false goal": "a trap"},
        },
        (
            "| none | 10% (0% to 20%) | - |",
            "| delta | 100% | 50% |",
            "100,000 steps",
            "`keep`",
            "by fault: farmable, p itself at every step; false goal, a trap.",
        ),
    ),
    "distance_regret": (
        {
            "processes": 1000,
            "states": 8,
            "actions": 3,
            "gamma": 0.9,
            "rows": [{"name": "starc", "value": 0.9, "low": 0.88, "high": 0.92}],
        },
        ("| STARC | 0.90 (0.88 to 0.92) |", "1,000 random processes"),
    ),
    "carl_network": (
        {
            "rows": [
                {
                    "name": "one update",
                    "ours": 9.22,
                    "peers": {"plain PyTorch loop": 23.83},
                    "convolution_limit": 3.57,
                    "of_convolution_limit": 0.387,
                    "extrapolated": {
                        "ours_minutes": 24.3,
                        "plain_minutes": 62.9,
                        "convolution_limit_minutes": 9.4,
                    },
                    "precision": "bfloat16",
                    "runs": 3,
                }
            ]
        },
        ("| one update | 9.2 s | 23.8 s | 3.6 s | 39% | 24 min (63, 9) |", "median of 3"),
    ),
    "ppo_learning_curves": (
        {
            "rows": [
                {
                    "name": "Pendulum-v1",
                    "steps": 150_000,
                    "finals": {"robo": [-150.0, -170.0], "other": [-180.0, -140.0]},
                    "range": {"robo": [-170.0, -150.0], "other": [-180.0, -140.0]},
                    "within_peers_spread": True,
                    "permutation_p": {"other": 1.0},
                }
            ],
            "seeds": [0, 1],
            "test": "a test",
        },
        ("| -160 (-170 to -150) | -160 (-180 to -140) | yes | 1.00 |", "150,000 steps"),
    ),
    "batch_scaling": (
        {
            "rows": [
                {
                    "task": "gym/Pendulum-v1",
                    "batch": batch,
                    "rule": rule,
                    "ours": -200.0,
                    "returns": [-210.0, -190.0],
                    "wall_to_threshold": wall,
                    "threshold": -250.0,
                    "samples": 524_288,
                }
                for batch, rule, wall in ((512, "none", 3.25), (1024, "sqrt", None))
            ],
            "seeds": [0, 1],
            "minibatches": 8,
            "epochs": 10,
        },
        ("| 512 | -200 (-210 to -190), 3.2 s |  |", "| 1,024 |  | -200 (-210 to -190), - |"),
    ),
    "grm_tasks": (
        {
            "rows": [{"name": "mujoco/Reach", "episodes": 60, **ORDER}],
            "seen": ORDER,
            "untrained": {**ORDER, "completion": 0.333},
            "held_out": "robosuite/Stack",
            "adaptation": {
                "before": {**ORDER, "voc_plus": 0.2, "fits": [{"episodes": 45}]},
                "after": {**ORDER, "fits": [{"episodes": 45}]},
            },
            "limits": {"seen": {"voc_plus": 0.95, "completion": 0.9}, "adapted": {"auc": 0.95}},
            "settings": {"demonstrations": 30, "failures": 20, "mode": "mean"},
            "seeds": [0],
        },
        (
            "| mujoco/Reach | 60 | 0.96 | 0.97 | 0.91 | 0.99 | 0.98 | 92% |",
            "| required |  | ≥ 0.95 |  |  |  |  | ≥ 90% |",
            "| untrained network, the same mean |  | 0.96 | 0.97 | 0.91 | 0.99 | 0.98 | 33% |",
            "| robosuite/Stack, not adapted | 45 | 0.20 | 0.97 | 0.91 |",
            "| required |  |  |  |  | ≥ 0.95 |  |  |",
            "40 failures",
        ),
    ),
    "grm_ablation": (
        {
            "rows": [
                {
                    "name": name,
                    "runs": 3,
                    "success": [1.0, 0.98, 0.0],
                    "steps_to_80": steps,
                    "median_steps_to_80": median,
                    "excess": [excess, excess, excess],
                }
                for name, steps, median, excess in (
                    ("full", [96_000, 115_200, None], 115_200, -0.03),
                    ("no_shaping", [None, None, None], None, None),
                )
            ],
            **TRAINING,
        },
        (
            "| 98% (0% to 100%) | 2 of 3 | 115,200 (96,000 to 115,200) | -0.03 |",
            "| no shaping: sparse success | 98% (0% to 100%) | 0 of 3 | - | - |",
            "300,000 steps, 3 seeds (0, 1, 2)",
            "seeds 9000-9099",
            "`keep`",
        ),
    ),
    "reward_hacking": (
        {
            "rows": [
                {
                    "name": name,
                    "success": [1.0, 0.5],
                    "potential": [0.9, 0.8],
                    "true_progress": [0.3, 0.4],
                    "excess": [0.6, 0.4],
                    "excess_of_failures": [None, 0.7],
                    "counts": [counts, counts],
                }
                for name, counts in (("frozen", {}), ("refreshed", {"refreshes_accepted": 5}))
            ],
            "views": ["front"],
            "members": 4,
            "held_out": 7,
            "refresh": {"every_iterations": 3, "steps": 50, "discount": 0.25},
            **TRAINING,
        },
        (
            "every 3 iterations, 50 training steps; a failure keeps 25%",
            "judged by 7 demonstrations",
            "| frozen | 75% (50% to 100%) | 0.85 (0.80 to 0.90) | 0.35 (0.30 to 0.40) "
            "| +0.50 (+0.40 to +0.60) | +0.70 | - |",
            "| 5 |",
            "ensembles of 4",
        ),
    ),
    **DRIVING_EXAMPLES,
    **SPEED_EXAMPLES,
    **SIMULATOR_EXAMPLES,
}
EXAMPLES["grm_tasks_lift"] = EXAMPLES["grm_tasks"]
