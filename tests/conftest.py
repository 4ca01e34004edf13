from __future__ import annotations

import os

# Before torch and NumPy start their thread pools: on few cores small tensors are several times
# slower with more threads, and one thread makes sums the same in every run.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

# No deadline: the first example of many tests compiles or imports something large.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", max_examples=50, **_COMMON)
settings.register_profile("soak", max_examples=5000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory):
    """Folder of a tiny open_clip model with initial weights, as robo fit clip writes one."""
    pytest.importorskip("open_clip")
    from robo.perception.clip_build import build_clip, save_clip
    from robo.perception.clip_config import ClipShape

    shape = ClipShape(
        tower="transformer",
        image_size=32,
        patch_size=8,
        width=32,
        layers=2,
        heads=2,
        text_width=16,
        text_layers=1,
        context_length=24,
        embed_dim=32,
    )
    folder = tmp_path_factory.mktemp("clip")
    return save_clip(build_clip(shape), shape.model_config(), folder)
