"""The driver that docs/real_robot.md shows runs as it stands, on a stand-in for its maker's SDK."""

from __future__ import annotations

import importlib
import json
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from robo.robots.evaluation import evaluate_on_robot
from robo.robots.evaluation_config import EvaluationConfig, JudgingConfig
from robo.robots.loop import LoopConfig
from robo.robots.plan import Plan
from robo.robots.robot import Robot

ROOT = Path(__file__).parent.parent.parent


class Arm:
    """What the maker's package would offer."""

    def __init__(self, address: str) -> None:
        self.at, self.open, self.taken = np.zeros(6), 1.0, 0

    def joints(self) -> np.ndarray:
        return self.at.copy()

    def opening(self) -> float:
        return self.open

    def camera(self) -> tuple[np.ndarray, float]:
        self.taken += 1
        return np.random.default_rng(self.taken).integers(0, 255, (240, 320, 3), np.uint8), 0.01

    def servo(self, joints: list[float], opening: float) -> None:
        self.at, self.open = np.array(joints), opening

    def servo_here(self) -> None: ...

    def protective_stop(self) -> None: ...

    def disconnect(self) -> None: ...


POLICY = """
import numpy as np

class Wave:
    def __init__(self, task):
        assert task == "wave"
    def reset(self, seed):
        self.count = 0
    def __call__(self, observation):
        self.count += 1
        chunk = np.tile(np.array([0.0, -0.8, 1.4, 0.0, 0.9, 0.0, 0.5]), (4, 1))
        chunk[:, 0] = 0.3 * np.sin((self.count + np.arange(4)) / 5)
        return chunk

class Still(Wave):
    pass
"""


@pytest.mark.alone
def test_the_documented_driver_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "real_robot.md").read_text()
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None and 50 <= len(found[1].splitlines()) <= 62
    (tmp_path / "documented_arm.py").write_text(found[1])
    (tmp_path / "documented_policies.py").write_text(POLICY)
    sdk = types.ModuleType("my_arm_sdk")
    sdk.Arm = Arm  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_arm_sdk", sdk)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert isinstance(importlib.import_module("documented_arm").MyArm(), Robot)
    script = tmp_path / "script.jsonl"
    script.write_text("\n".join(json.dumps({"trial": n, "outcome": "success"}) for n in (1, 2)))
    config = EvaluationConfig(
        robot="documented_arm:MyArm",
        loop=LoopConfig(seconds=0.5, actions="absolute", frame_stride=2),
        judging=JudgingConfig(operator="script", script=script),
    )
    plan = Plan(("documented_policies:Wave", "documented_policies:Still"), ("wave",), trials=1)
    out = tmp_path / "out"
    result = evaluate_on_robot(plan, config, out, say=lambda line: None)
    assert result["finished"] and result["judged"] == 2
    # The first trial's scene became the pattern of the second.
    assert (out / "scenes" / "5000_front.png").is_file()
