"""What is not drawn because no camera sees it changes no pixel."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

ACTIONS = np.random.default_rng(0).uniform(-1.0, 1.0, (12, 7)).astype(np.float32)
VIEWS = ("front", "side", "wrist", "bird")


def _images(environment: Any, height: int, width: int) -> list[np.ndarray]:
    renderer = environment.renderer
    colours = renderer.frames(VIEWS, height, width)
    depths = renderer.depth(VIEWS, height, width)
    shown = renderer.segmentation(VIEWS, height, width)
    return [kind[view] for kind in (colours, depths, shown) for view in VIEWS]


@pytest.mark.parametrize("task", ["Lift", "Door", "NutAssemblySquare"])
def test_images_are_those_of_the_whole_scene(robosuite: Any, task: str, monkeypatch: Any) -> None:
    from robo.sim.robosuite.culling import MeshCulling
    from robo.sim.robosuite.provider import make

    environment: Any = make(f"robosuite/{task}")
    environment.reset(seed=1)
    left_out = 0
    for action in ACTIONS:
        environment.step(action)
    for size in ((48, 48), (40, 72)):
        fewer = _images(environment, *size)
        left_out += environment.raw.sim.model._model.ngeom - environment.renderer._scene.ngeom
        with monkeypatch.context() as patch:
            patch.setattr(MeshCulling, "hidden", lambda *arguments: nullcontext())
            whole = _images(environment, *size)
        for one, two in zip(fewer, whole, strict=True):
            assert np.array_equal(one, two)
    assert left_out > 0
    environment.close()


def test_groups_are_as_before_and_nearly_everything_is_out_of_sight(lift: Any) -> None:
    from robo.sim.robosuite.culling import MeshCulling

    lift.reset(seed=0)
    model, data = lift.raw.sim.model._model, lift.raw.sim.data._data
    lift.renderer.frames(("wrist",), 32, 32)
    groups = model.geom_group.copy()
    culling = MeshCulling(model)
    camera = lift.renderer._scene.camera[0]
    seen = ~culling.outside(data, camera, 1.0)
    # The wrist camera looks down past the fingers, away from arm and mount.
    assert 0 < seen.sum() < len(seen) / 2
    with pytest.raises(RuntimeError), culling.hidden(data, camera, 1.0):
        assert (model.geom_group != groups).sum() == (~seen).sum()
        raise RuntimeError
    assert np.array_equal(model.geom_group, groups)


def test_a_wider_picture_shows_more(lift: Any) -> None:
    from robo.sim.robosuite.culling import MeshCulling

    lift.reset(seed=0)
    model, data = lift.raw.sim.model._model, lift.raw.sim.data._data
    fewer = {}
    for view in VIEWS:
        lift.renderer.frames((view,), 32, 32)
        culling, camera = MeshCulling(model), lift.renderer._scene.camera[0]
        narrow, wide = (culling.outside(data, camera, aspect) for aspect in (0.02, 6.0))
        assert not (wide & ~narrow).any()
        fewer[view] = int(narrow.sum() - wide.sum())
    assert max(fewer.values()) > 5, fewer
