"""robosuite in worker processes: the same bits as in this process, images in shared memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from robo.rollout import CameraSchedule

LIFT = "robosuite/Lift"


@pytest.mark.slow
def test_workers_give_the_bits_of_this_process(robosuite: Any) -> None:
    from robo.sim.in_process import InProcessVectorEnvironment
    from robo.sim.robosuite.provider import make
    from robo.sim.workers import WorkerVectorEnvironment

    factories = [partial(make, LIFT, horizon=4)] * 2
    vectors = [InProcessVectorEnvironment(factories), WorkerVectorEnvironment(factories, 2)]
    actions = np.random.default_rng(0).uniform(-1, 1, (6, 2, 7)).astype(np.float32)
    records: list[list[Any]] = []
    for vector in vectors:
        vector.set_camera_schedule(CameraSchedule(("front", "wrist"), 40, 40, 3))
        observation, infos = vector.reset(seed=5)
        record: list[Any] = [observation["state"], infos["frames"].views["front"]]
        for action in actions:
            observation, _, _, truncated, infos = vector.step(action)
            record += [observation["state"], truncated]
            if "frames" in infos:
                record += [infos["frames"].views["wrist"], infos["frames"].final]
        records.append(record)
        vector.close()
    assert len(records[0]) == len(records[1])
    assert all(np.array_equal(one, two) for one, two in zip(*records, strict=True))
