"""PPO on images: accumulation, exact resume, precision, compilation, and that it learns to see."""

from __future__ import annotations

import io
import os
import runpy
import shutil
import socket
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch

import robo
from robo import precision
from robo.policies.collector import Collector
from robo.policies.learner_config import NetworkConfig, PPOConfig
from robo.policies.policy_files import make_policy
from robo.policies.ppo import PPO
from tests.policies.sides_helper import make, terms_of, updated


@pytest.mark.slow
def test_it_learns_to_see():
    policy, collector = make(envs=16)
    learner = PPO(
        PPOConfig(learning_rate=1e-3, epochs=3, minibatch_size=128, gamma=0.5, chunk_size=128),
        policy,
    )
    rewards = []
    for _ in range(12):
        rollout = collector.collect()
        rewards.append(float(rollout.env_reward.mean()))
        learner.update(rollout, terms_of(rollout))
    assert abs(rewards[0]) < 0.15
    assert np.mean(rewards[-2:]) > 0.6
    observation = rollout.last_observation
    action, _ = policy.act({k: v.numpy() for k, v in observation.items()}, np.random.default_rng(0))
    assert np.abs(action).max() <= 1.0


class Lamp(gymnasium.Env):
    """A bare image ``[H, W, C]``: its colour says which way to steer; four steps an episode."""

    observation_space = gymnasium.spaces.Box(0, 255, (24, 16, 3), np.uint8)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._look(), {}

    def step(self, action):
        reward = float(action[0] if self.red else -action[0])
        return self._look(), reward, False, False, {}

    def _look(self):
        self.red = bool(self.np_random.random() < 0.5)
        image = self.np_random.integers(0, 60, (24, 16, 3), dtype=np.uint8)
        image[..., 0 if self.red else 2] += 180
        return image


def test_a_bare_image_of_gymnasium_is_learned_from():
    gymnasium.register("robo-test-Lamp-v0", Lamp, max_episode_steps=4)
    env = robo.make_vec("gym/robo-test-Lamp-v0", 4, backend="in_process")
    space = env.single_observation_space
    policy = make_policy(space, env.single_action_space, NetworkConfig(kind="carl_small"), seed=1)
    assert policy.images == {"image": (3, 24, 16)}
    collector = Collector(env, policy, 16, seed=2)
    config = PPOConfig(learning_rate=1e-3, epochs=3, minibatch_size=32, gamma=0.5)
    learner, rewards = PPO(config, policy), []
    for _ in range(10):
        rollout = collector.collect()
        rewards.append(float(rollout.env_reward.mean()))
        before = policy.flat.clone()
        learner.update(rollout, terms_of(rollout))
        assert not torch.equal(policy.flat, before) and bool(policy.flat.isfinite().all())
    env.close()
    assert np.mean(rewards[-2:]) > 0.3 > abs(rewards[0])


def test_chunks_of_a_minibatch_add_up_to_it():
    policy, collector = make(envs=4)
    rollout = collector.collect()
    whole, _ = updated(policy, rollout, chunk_size=64, epochs=1)
    for size in (32, 7):
        parts, _ = updated(policy, rollout, chunk_size=size, epochs=1)
        torch.testing.assert_close(parts, whole, rtol=0, atol=1e-6)


def test_the_batch_can_be_one_minibatch_and_images_are_not_copied():
    policy, collector = make()
    rollout = collector.collect()
    assert rollout.observation["birdseye"].dtype == torch.uint8
    learner = PPO(PPOConfig(minibatch_size=10**6, epochs=1, chunk_size=40), policy)
    batch = learner._batch(rollout, terms_of(rollout), fresh=False)
    kept = batch.observation["birdseye"]  # type: ignore[union-attr]
    assert kept.data_ptr() == rollout.observation["birdseye"].data_ptr()
    metrics = learner.update(rollout, terms_of(rollout))
    assert metrics["approximate_kl"] == pytest.approx(0.0, abs=1e-5)
    assert metrics["clip_fraction"] == 0.0
    assert metrics["epochs_run"] == 1


def test_invalid_steps_count_nowhere():
    policy, collector = make(envs=3)
    rollout = collector.collect()
    valid = torch.ones(rollout.shape, dtype=torch.bool)
    valid[8:, 1] = False
    rollout.valid = valid
    flats = []
    for junk in (0, 200):
        rollout.observation["birdseye"][8:, 1] = junk
        rollout.env_reward[8:, 1] = junk
        flats.append(updated(policy, rollout)[0])
    assert torch.equal(*flats)


def test_resume_is_exact():
    config = PPOConfig(minibatch_size=32, epochs=2, learning_rate_schedule="linear")
    policy, collector = make()
    learner = PPO(config, policy, seed=4)
    rollout = collector.collect()
    learner.update(rollout, terms_of(rollout), 1.0)
    file = io.BytesIO()
    parts = {"policy": policy, "ppo": learner, "collector": collector}
    torch.save({name: part.state_dict() for name, part in parts.items()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=False)
    other, other_collector = make(seed=9)
    resumed = PPO(config, other, seed=99)
    for name, part in {"policy": other, "ppo": resumed, "collector": other_collector}.items():
        part.load_state_dict(state[name])
    for each, source in ((learner, collector), (resumed, other_collector)):
        for _ in range(2):
            rollout = source.collect()
            each.update(rollout, terms_of(rollout), 0.5)
    assert torch.equal(policy.flat, other.flat)
    for name, tensor in policy.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_bfloat16_learns_the_same_within_its_precision(monkeypatch):
    monkeypatch.setattr(precision, "CPU_BFLOAT16", True)
    policy, collector = make()
    rollout = collector.collect()
    half, _ = make(NetworkConfig(kind="carl_small", precision="bfloat16"))
    exact, metrics = updated(policy, rollout, learning_rate=1e-4)
    near, rounded = updated(half, rollout, learning_rate=1e-4)
    assert float((near - exact).norm()) < 0.02 * float(exact.norm())
    assert rounded["value_loss"] == pytest.approx(metrics["value_loss"], rel=0.1)


@pytest.mark.slow
def test_the_compiled_twin_gives_the_eager_result():
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch.compile on a CPU needs a C++ compiler")
    policy, collector = make()
    rollout = collector.collect()
    options = {"epochs": 1, "minibatch_size": 64, "learning_rate": 1e-4}
    eager, metrics = updated(policy, rollout, **options)
    fast, compiled = updated(policy, rollout, compile=True, **options)
    torch.testing.assert_close(fast, eager, rtol=0, atol=1e-5)
    assert compiled["policy_loss"] == pytest.approx(metrics["policy_loss"], abs=1e-5)
    observation = {name: entry[0].numpy() for name, entry in rollout.observation.items()}
    slow_output = policy.actor_output(observation)
    PPO(PPOConfig(compile=True), policy)
    np.testing.assert_allclose(policy.actor_output(observation), slow_output, atol=1e-5)


SEVERAL = """
import sys, torch, numpy as np
from robo.policies import distributed
from robo.policies.learner_config import NetworkConfig, PPOConfig
from robo.policies.policy_files import make_policy
from robo.policies.ppo import PPO
from robo.rollout import FinalObservation, RewardTerms, Rollout
from gymnasium.spaces import Box, Dict

T, N = 6, 4


def train(kind):
    draw = np.random.default_rng(0)
    observation = {"state": draw.standard_normal((T + 1, N, 3)).astype(np.float32)}
    space = {"state": Box(-np.inf, np.inf, (3,), np.float32)}
    if kind == "carl_small":
        space["birdseye"] = Box(0, 255, (2, 12, 12), np.uint8)
        observation["birdseye"] = draw.integers(0, 256, (T + 1, N, 2, 12, 12), dtype=np.uint8)
    action = np.tanh(draw.standard_normal((T, N, 2))).astype(np.float32)
    reward = draw.standard_normal((T, N)).astype(np.float32)
    size = N // distributed.world_size()
    mine = slice(distributed.rank() * size, (distributed.rank() + 1) * size)
    part = {k: torch.from_numpy(v[:, mine].copy()) for k, v in observation.items()}
    none = torch.zeros((T, size), dtype=torch.bool)
    index = torch.zeros(0, dtype=torch.int64)
    policy = make_policy(Dict(space), Box(-1, 1, (2,), np.float32), NetworkConfig(kind=kind))
    policy.double()
    ppo = PPO(PPOConfig(epochs=2, minibatch_size=8, chunk_size=3, target_kl=5.0), policy, seed=3)
    for _ in range(5):
        rollout = Rollout(
            {k: v[:-1] for k, v in part.items()},
            {k: v[-1] for k, v in part.items()},
            FinalObservation({k: v[0, :0] for k, v in part.items()}, index, index),
            torch.from_numpy(action[:, mine].copy()),
            torch.full((T, size), -2.0),
            torch.from_numpy(reward[:, mine].copy()),
            none, none, none, torch.zeros((T, size), dtype=torch.int64), {},
        )
        metrics = ppo.update(rollout, RewardTerms(rollout.env_reward, {}))
    return {"flat": policy.flat.detach().clone(), "metrics": metrics}


def main(out):
    torch.set_num_threads(1)
    distributed.initialise(60.0, share_cores=False)
    found = {kind: train(kind) for kind in ("mlp", "carl_small")}
    if distributed.rank() == 0:
        torch.save(found, out)
    distributed.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.mark.slow
def test_two_ranks_give_the_parameters_of_one(tmp_path):
    script, out = tmp_path / "several.py", tmp_path / "two.pt"
    script.write_text(SEVERAL)
    train = runpy.run_path(str(script))["train"]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-X", "faulthandler", str(script), str(out)],
            env={**os.environ, **together, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    several = torch.load(out, weights_only=True)
    for kind in ("mlp", "carl_small"):
        one, two = train(kind), several[kind]
        torch.testing.assert_close(two["flat"], one["flat"], rtol=0, atol=1e-8)
        for name in ("policy_loss", "approximate_kl", "gradient_norm"):
            assert two["metrics"][name] == pytest.approx(one["metrics"][name], abs=1e-6)


def test_threads_of_updates_are_given_back() -> None:
    from robo.policies.threads import torch_threads

    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(RuntimeError, match="broken"), torch_threads(before + 1):
        raise RuntimeError("broken")
    assert torch.get_num_threads() == before
