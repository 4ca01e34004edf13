"""robosuite in threads and worker processes: the same bits, images in shared memory."""

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


@pytest.mark.slow
def test_threads_show_a_policy_its_views(robosuite: Any) -> None:
    """A GL context belongs to one thread: what renders is stepped by the thread that closes it."""
    from robo.sim.in_process import InProcessVectorEnvironment, ThreadVectorEnvironment
    from robo.sim.robosuite.provider import make

    views = {"observation_views": ("front",), "view_height": 24, "view_width": 24}
    factories = [partial(make, LIFT, horizon=3, **views)] * 2
    vectors = (InProcessVectorEnvironment(factories), ThreadVectorEnvironment(factories, 2))
    actions = np.random.default_rng(0).uniform(-1, 1, (4, 2, 7)).astype(np.float32)
    images: list[list[np.ndarray]] = []
    for vector in vectors:
        seen = [vector.reset(seed=5)[0]["views/front"]]
        seen += [vector.step(action)[0]["views/front"] for action in actions]
        images.append(seen)
        vector.close()
    assert all(np.array_equal(one, two) for one, two in zip(*images, strict=True))
    assert images[0][0].shape == (2, 24, 24, 3) and images[0][0].std() > 8


@pytest.mark.slow
def test_the_measured_backend_shows_a_policy_its_views(robosuite: Any) -> None:
    import robo

    vector = robo.make_vec(LIFT, 2, observation_views=("wrist",), view_height=24, view_width=24)
    observation, _ = vector.reset(seed=0)
    assert observation["views/wrist"].std() > 3
    vector.close()
