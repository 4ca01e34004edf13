"""Results of how fast models answer and learn, and what the tables made of them must hold."""

from __future__ import annotations

from typing import Any

SPEED_EXAMPLES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "grm_throughput_gpu": (
        {
            "rows": [
                {"name": "compact, 1 frames a call", "pairs_per_second": 523.2},
                {
                    "name": "3b, 32 pairs",
                    "pairs_per_second": 53.04,
                    "operations_per_pair": 8.8e12,
                    "utilisation": 0.473,
                },
            ],
            "machine": {"cpu": "some CPU", "device": "some GPU"},
        },
        ("| 3b, 32 pairs | 53.0 | 8.8 | 47% |", "| 523.2 |  |  |", "device some GPU"),
    ),
    "grm_throughput": (
        {
            "rows": [
                {
                    "name": "compact, 8 frames a call",
                    "pairs_per_second": 6300.4,
                    "ratio_to_a_call_per_step": 14.26,
                    "ratio_to_our_scorer_a_frame_at_a_time": 2.5,
                },
                {"name": "tiny, 2 pairs, caching on", "pairs_per_second": 9.0},
            ],
            "machine": {"cpu": "some CPU", "device": "cpu"},
        },
        ("| compact, 8 frames a call | 6,300 | 14.3 x | 2.5 x |", "some CPU"),
    ),
    "language_goal_throughput": (
        {
            "rows": [
                {
                    "name": "ViT-B-32, cpu, bf16, batch 64",
                    "ours": 18.9,
                    "peers": {"one frame per step, as released": 6.1, "one frame per step": 11.8},
                    "ratio_to_released": 3.09,
                    "least_cosine_to_fp32": 0.99987,
                }
            ],
            "threads": 2,
            "machine": {"cpu": "some CPU", "device": "cpu"},
        },
        (
            "| ViT-B-32, cpu, bf16, batch 64 | 18.9 | 6.1 | 11.8 | 3.09 x | 0.99987 |",
            "Threads on either side: 2.",
            "some CPU",
        ),
    ),
    "language_goal_throughput_gpu": (
        {
            "rows": [
                {
                    "name": "ViT-bigG-14",
                    "ours": 521.0,
                    "peers": {"one frame per step": 88.8},
                    "ratio_to_best": 5.87,
                    "utilisation": 0.51,
                }
            ],
            "machine": {"cpu": "some CPU", "device": "some GPU"},
        },
        ("| ViT-bigG-14 | 521 | 89 | 5.9 x | 51% |", "device some GPU"),
    ),
    "video_encoder_speed": (
        {
            "shape": "vit-g",
            "batch": 2,
            "clips_per_second": 3.688,
            "tflops": 419.8,
            "utilisation": 0.424,
            "machine": {"cpu": "some CPU", "device": "some GPU"},
        },
        ("| V-JEPA 2, vit-g, 2 clips a pass | 3.69 | 420 | 42% |",),
    ),
    "carl_network_gpu": (
        {
            "rows": [
                {
                    "name": "4096 transitions",
                    "ours": 0.363,
                    "peers": {"plain PyTorch loop": 0.572},
                    "convolution_limit": 0.273,
                    "of_convolution_limit": 0.752,
                }
            ],
            "limit": {
                "layers": [
                    {
                        "layer": 0,
                        "pass": "both",
                        "best": ["bfloat16", "channels_last"],
                        "seconds": 0.0131,
                    }
                ]
            },
            "machine": {"cpu": "some CPU", "device": "some GPU"},
        },
        (
            "| 4096 transitions | 363 ms | 572 ms | 273 ms | 75% |",
            "| 0 | both | bfloat16, channels last | 13100 µs |",
        ),
    ),
    "domain_clip": (
        {
            "rows": [
                {
                    "name": "driving, Grid",
                    "ours": 0.9983,
                    "wanted": 0.95,
                    "trained_wording": 0.9981,
                    "single_sentences": {"mean": 0.998, "worst": 0.9972},
                    "frames": {"imminent_collision": 308, "clear_road": 1505},
                },
                {
                    "name": "lifting",
                    "ours": None,
                    "wanted": 0.95,
                    "trained_wording": None,
                    "single_sentences": None,
                    "frames": {"held": 0},
                },
            ],
            "machine": {"cpu": "some CPU", "device": "cpu"},
        },
        (
            "| driving, Grid | 0.998 | 0.997 | 0.998 | imminent collision 308, clear road 1,505 |",
            "| lifting | - | - | - | held 0 |",
            "Wanted: 0.95. some CPU",
        ),
    ),
    "language_goal_memory": (
        {
            "rows": [{"name": "raster 64", "ours": 1014.1, "peers": {"SB3's": 81920}}],
            "steps": 100000,
            "extrapolated": {"steps": 1000000, "bytes": 1014100000.0},
            "machine": {"cpu": "some CPU", "device": "cpu"},
        },
        ("| robo, raster 64 | 1,014 | 1.0 |", "| SB3's | 81,920 | 81.9 |", "over 100,000 steps"),
    ),
    "language_goal_table": (
        {
            "rows": [
                {
                    "name": "VLM-RL",
                    "seeds": 2,
                    "average_speed": [18.0, 20.0],
                    "route_completion": [0.9, 1.0],
                    "total_distance": [1900.0, 2100.0],
                    "collision_speed": [0.0, 0.0],
                    "success_rate": [0.8, 1.0],
                }
            ],
            "missing": ["ppo-lord-0"],
            "algorithm": "ppo",
            "steps": 100000,
            "task": "carla-standin/Grid",
            "machine": {"cpu": "some CPU", "device": "cpu"},
        },
        (
            "| VLM-RL | 2 | 19.0 (18.0 to 20.0) | 0.95 (0.90 to 1.00) | 2,000 (1,900 to 2,100) | "
            "0.0 | 90% (80% to 100%) |",
            "PPO, 100,000 steps each in carla-standin/Grid",
            "Not run yet: ppo-lord-0. some CPU",
        ),
    ),
}
