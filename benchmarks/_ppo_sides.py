"""PPO of five libraries with one network and one set of hyper-parameters.

A side is made by ``make_side(library, backend, work)``: a function that trains for a number of
rollouts. Two tanh networks of 64x64, a state-independent standard deviation, Adam, lambda 0.95,
clip 0.2, value weight 0.5, no entropy bonus, gradient norm 0.5, a constant learning rate, no
normalisation of observations. Nothing is logged or saved.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from _ppo_backends import (
    ContractEnvironment,
    SyncStepper,
    make_pool,
    make_sync,
    rsl_environment,
    sb3_environment,
)


@dataclass(frozen=True)
class Workload:
    """One row of the table."""

    name: str
    task: str
    envs: int
    steps: int
    epochs: int
    minibatch: int
    limit: int
    """Steps of an episode."""
    learning_rate: float = 3e-4
    gamma: float = 0.99


@dataclass(frozen=True)
class Library:
    """One side, what must be importable for it, and the backends that it can be run on."""

    modules: tuple[str, ...]
    install: str
    backends: tuple[str, ...]
    """``sync``: gymnasium's SyncVectorEnv; ``own``: the library's; ``envpool``."""


OURS = "robo"
LIBRARIES = {
    OURS: Library((), "-e .", ("sync", "own", "envpool")),
    "stable-baselines3": Library(
        ("stable_baselines3",), "stable-baselines3==2.9.2", ("sync", "own", "envpool")
    ),
    "sbx-rl": Library(("sbx",), "sbx-rl==0.28.0", ("sync", "own", "envpool")),
    "skrl": Library(("skrl",), "skrl==2.1.1", ("sync", "envpool")),
    "rsl-rl-lib": Library(("rsl_rl",), "rsl-rl-lib==5.5.1", ("sync", "envpool")),
}
"""Distribution name to side; skrl and rsl_rl have no environments of their own that run here."""
ENVPOOL = Library(("envpool",), "envpool==1.2.5", ())

Train = Callable[[int], None]


def missing(library: str, backend: str) -> str | None:
    """The line that installs what this side lacks; None where nothing is missing."""
    needs = [LIBRARIES[library], *([ENVPOOL] if backend == "envpool" else [])]
    absent = [
        need.install
        for need in needs
        if any(importlib.util.find_spec(module) is None for module in need.modules)
    ]
    return "pip install " + " ".join(absent) if absent else None


def make_side(
    library: str, backend: str, work: Workload, seed: int = 0, stepper: Any = None
) -> Train:
    """A function that trains ``library`` on ``backend`` for a number of rollouts.

    ``stepper`` steps in place of the backend's own (ours and Stable-Baselines3's kin alone).
    """
    makers = {
        OURS: _ours,
        "stable-baselines3": _stable_baselines3,
        "sbx-rl": _sbx,
        "skrl": _skrl,
        "rsl-rl-lib": _rsl_rl,
    }
    with contextlib.redirect_stdout(io.StringIO()):  # some print their networks
        return makers[library](backend, work, seed, stepper)


def _ours(backend: str, work: Workload, seed: int, stepper: Any) -> Train:
    import robo
    from robo.policies.actor_critic import ActorCritic
    from robo.policies.collector import Collector
    from robo.policies.ppo import PPO, PPOConfig
    from robo.rollout import RewardTerms

    env: Any
    if backend == "sync":
        stepper = stepper or SyncStepper(work.task, work.envs)
        env = ContractEnvironment(stepper, work.task)
    elif backend == "envpool":
        from robo.sim.envpool_adapter import make_vec

        env = make_vec(f"envpool/{work.task}", work.envs)
    else:
        env = robo.make_vec(f"gym/{work.task}", work.envs, backend="native", threads=1)
    policy = ActorCritic(env.single_observation_space, env.single_action_space, seed=seed)
    config = PPOConfig(
        learning_rate=work.learning_rate,
        gamma=work.gamma,
        epochs=work.epochs,
        minibatch_size=work.minibatch,
        normalise_observation=False,
    )
    learner = PPO(config, policy, seed=seed)
    collector = Collector(env, policy, work.steps, seed=seed)

    def train(rollouts: int) -> None:
        for _ in range(rollouts):
            rollout = collector.collect()
            learner.update(rollout, RewardTerms(rollout.env_reward, {"env": rollout.env_reward}))

    return train


def _stable_baselines3(backend: str, work: Workload, seed: int, stepper: Any) -> Train:
    from stable_baselines3 import PPO

    return _of_baselines(PPO, backend, work, seed, stepper)


def _sbx(backend: str, work: Workload, seed: int, stepper: Any) -> Train:
    from sbx import PPO

    return _of_baselines(PPO, backend, work, seed, stepper)


def _of_baselines(kind: Any, backend: str, work: Workload, seed: int, stepper: Any) -> Train:
    """Both have SB3's interface and its defaults, which are the hyper-parameters wanted here."""
    env = sb3_environment(backend, work.task, work.envs, seed, stepper)
    model = kind(
        "MlpPolicy",
        env,
        learning_rate=work.learning_rate,
        gamma=work.gamma,
        n_steps=work.steps,
        batch_size=work.minibatch,
        n_epochs=work.epochs,
        device="cpu",
        seed=None if backend == "envpool" else seed,
    )

    def train(rollouts: int) -> None:
        model.learn(rollouts * work.steps * work.envs, reset_num_timesteps=False)

    return train


def _skrl(backend: str, work: Workload, seed: int, stepper: Any) -> Train:
    import skrl
    import torch
    from skrl.agents.torch.ppo import PPO, PPO_CFG
    from skrl.envs.wrappers.torch import wrap_env
    from skrl.memories.torch import RandomMemory
    from skrl.trainers.torch import SequentialTrainer, SequentialTrainerCfg

    skrl.logger.setLevel("ERROR")
    torch.manual_seed(seed)
    pool = backend == "envpool"
    bare = make_pool(work.task, work.envs, seed) if pool else make_sync(work.task, work.envs)
    env: Any = wrap_env(bare, wrapper="gymnasium", verbose=False)
    models = _skrl_models(env)
    config = PPO_CFG(
        rollouts=work.steps,
        learning_epochs=work.epochs,
        mini_batches=work.envs * work.steps // work.minibatch,
        learning_rate=work.learning_rate,
        discount_factor=work.gamma,
        gae_lambda=0.95,
        grad_norm_clip=0.5,
        ratio_clip=0.2,
        value_clip=0.0,
        value_loss_scale=0.5,
        entropy_loss_scale=0.0,
        time_limit_bootstrap=True,
    )
    config.experiment.write_interval = 0
    config.experiment.checkpoint_interval = 0
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space}
    memory = RandomMemory(memory_size=work.steps, num_envs=work.envs, device="cpu")
    agent = PPO(models=models, memory=memory, cfg=config, device="cpu", **spaces)
    agent.init()
    quiet: dict[str, Any] = {
        "headless": True,
        "disable_progressbar": True,
        "close_environment_at_exit": False,
    }

    def train(rollouts: int) -> None:
        keywords = SequentialTrainerCfg(timesteps=rollouts * work.steps, **quiet)
        SequentialTrainer(cfg=keywords, env=env, agents=agent).train()

    return train


def _skrl_models(env: Any) -> dict[str, Any]:
    import torch
    from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
    from torch import nn

    def network(outputs: int) -> nn.Sequential:
        inputs = env.observation_space.shape[0]
        hidden = [nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()]
        return nn.Sequential(*hidden, nn.Linear(64, outputs))

    def base(model: Any) -> None:
        spaces = {"observation_space": env.observation_space, "action_space": env.action_space}
        Model.__init__(model, **spaces, device="cpu")

    class Actor(GaussianMixin, Model):
        def __init__(self) -> None:
            base(self)
            GaussianMixin.__init__(self, clip_actions=True)
            self.net = network(self.num_actions)
            self.log_std = nn.Parameter(torch.zeros(self.num_actions))

        def compute(self, inputs: Any, role: str = "") -> Any:
            return self.net(inputs["observations"]), {"log_std": self.log_std}

    class Critic(DeterministicMixin, Model):
        def __init__(self) -> None:
            base(self)
            DeterministicMixin.__init__(self)
            self.net = network(1)

        def compute(self, inputs: Any, role: str = "") -> Any:
            return self.net(inputs["observations"]), {}

    return {"policy": Actor(), "value": Critic()}


def _rsl_rl(backend: str, work: Workload, seed: int, stepper: Any) -> Train:
    import torch
    from rsl_rl.runners import OnPolicyRunner

    torch.manual_seed(seed)
    env = rsl_environment(backend, work.task, work.envs, seed, work.limit)
    network = {"class_name": "MLPModel", "hidden_dims": [64, 64], "activation": "tanh"}
    std = {"class_name": "GaussianDistribution", "init_std": 1.0, "std_type": "log"}
    config = {
        "num_steps_per_env": work.steps,
        "save_interval": 10**9,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "actor": {**network, "distribution_cfg": std},
        "critic": dict(network),
        "check_for_nan": False,
        "algorithm": {
            "class_name": "PPO",
            "num_learning_epochs": work.epochs,
            "num_mini_batches": work.envs * work.steps // work.minibatch,
            "learning_rate": work.learning_rate,
            "schedule": "fixed",
            "gamma": work.gamma,
            "lam": 0.95,
            "clip_param": 0.2,
            "value_loss_coef": 0.5,
            "use_clipped_value_loss": False,
            "entropy_coef": 0.0,
            "max_grad_norm": 0.5,
            "normalize_advantage_per_mini_batch": True,
        },
    }
    runner = OnPolicyRunner(env, config, log_dir=None, device="cpu")

    def train(rollouts: int) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            runner.learn(rollouts)

    return train
