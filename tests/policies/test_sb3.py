"""The bridge to Stable-Baselines3 as its page shows it, and that its learners learn by it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import robo
from robo.errors import MissingExtraError
from robo.rewards.potential import SignalPotential
from robo.rewards.shaping import ShapedReward
from robo.rewards.success import EnvironmentReward, SuccessReward

pytest.importorskip("stable_baselines3")

from stable_baselines3.common.callbacks import BaseCallback

from robo.policies.sb3 import RelabelCallback, sb3_vec_env
from tests.policies.sb3_helper import ppo

ROOT = Path(__file__).parents[2]


def test_missing_package_is_named() -> None:
    script = (
        "import sys; sys.modules['stable_baselines3'] = None\n"
        "from robo.errors import MissingExtraError\n"
        "try:\n    import robo.policies.sb3\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert "install robo-rewards[sb3]" in done.stdout, done.stderr
    assert issubclass(MissingExtraError, ImportError)


@pytest.mark.slow
def test_snippets_of_the_page_run(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "stable_baselines3.md").read_text()
    snippets = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(snippets) >= 3
    code = "\n".join(snippets)
    assert "100_000" in code
    short = code.replace("100_000", "256").replace("num_envs=8", "num_envs=2")
    short = short.replace('Policy", env)', 'Policy", env, n_steps=64)')
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", short],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert lines is not None
    body = [line for line in lines[1].splitlines() if line and "import" not in line]
    assert len(body) == 3


@pytest.mark.slow
def test_sb3_learns_reach_from_a_reward_of_ours() -> None:
    torch.set_num_threads(1)
    env = sb3_vec_env(robo.make_vec("mujoco/Reach", 8), "state")
    reward = ShapedReward(SuccessReward(), SignalPotential("progress"), 0.97)
    model = ppo(
        env,
        n_steps=128,
        batch_size=256,
        n_epochs=10,
        gamma=0.97,
        learning_rate=1e-3,
        policy_kwargs={"log_std_init": -0.5},
    )
    successes: list[float] = []

    class Watch(BaseCallback):
        def _on_step(self) -> bool:
            ends = np.flatnonzero(self.locals["dones"])
            successes.extend(float(self.locals["infos"][row]["is_success"]) for row in ends)
            return True

    with pytest.warns(UserWarning, match="features for the critic"):
        model.learn(12_000, callback=[RelabelCallback(reward), Watch()])
    env.close()
    early, late = np.mean(successes[:30]), np.mean(successes[-100:])
    assert early < 0.6 and late > 0.9


@pytest.mark.slow
def test_sb3_learns_cartpole_through_the_bridge() -> None:
    torch.set_num_threads(1)
    env = sb3_vec_env(robo.make_vec("gym/CartPole-v1", 8, "in_process"), "state")
    model = ppo(env, n_steps=64, batch_size=64, n_epochs=10, gamma=0.98, learning_rate=1e-3)
    lengths: list[int] = []

    class Watch(BaseCallback):
        def _on_step(self) -> bool:
            infos = self.locals["infos"]
            lengths.extend(info["episode"]["l"] for info in infos if "episode" in info)
            return True

    model.learn(10_000, callback=[RelabelCallback(EnvironmentReward()), Watch()])
    env.close()
    assert np.mean(lengths[-20:]) > 2.5 * np.mean(lengths[:20])
