from __future__ import annotations

from pathlib import Path

import pytest

from robo.sim.gl import choose_backend

# Before any test module imports MuJoCo, which reads the choice once.
choose_backend()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MuJoCo writes its warnings on gymnasium's models to MUJOCO_LOG.TXT where it runs."""
    monkeypatch.chdir(tmp_path)
