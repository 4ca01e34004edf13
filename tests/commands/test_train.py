from __future__ import annotations

import json
from pathlib import Path

import pytest

from robo.cli import main
from robo.commands.driving import with_server

SMALL = {
    "vehicles": 1,
    "pedestrians": 0,
    "birdseye_size": 64,
    "pixels_per_metre": 1.0,
    "metres_behind": 14.0,
    "time_limit": 2.0,
}


def test_a_driving_run_names_the_server_that_drove() -> None:
    result = {"task": "carla-standin/Grid", "backend": "workers", "steps": 5}
    named = {**result, "backend": "carla-standin", "vector_backend": "workers"}
    assert with_server(result) == named
    assert with_server({**result, "task": "carla/Town01"})["backend"] == "carla"
    other = {**result, "task": "gym/CartPole-v1"}
    assert with_server(other) == other


@pytest.mark.slow
def test_robo_train_writes_it(tmp_path: Path) -> None:
    pytest.importorskip("carla")
    options = [str(part) for pair in SMALL.items() for part in pair]
    arguments = [
        "train", "--task", "carla-standin/Grid", "--out", str(tmp_path), "--quiet",
        "--num-envs", "1", "--steps-per-rollout", "16", "--total-steps", "16",
        "--reward.kind", "route_completion", "--network.kind", "carl_small",
        "--network.distribution", "beta", "--ppo.minibatch-size", "16",
        "--options", *options,
    ]  # fmt: skip
    assert main(arguments) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["backend"], result["vector_backend"]) == ("carla-standin", "workers")
