"""Policies to and from Stable-Baselines3: MLP actor-critics, equal actions and values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
)
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor, nn

from robo.errors import CheckpointError, RoboError
from robo.policies.actor_critic import ActorCritic
from robo.policies.beta import Beta
from robo.policies.learner_config import NetworkConfig
from robo.policies.networks import ACTIVATIONS, linear_layers
from robo.policies.normalise import RunningNormaliser


class StateExtractor(BaseFeaturesExtractor):
    """The ``state`` of an observation, normalised as :class:`RunningNormaliser` does."""

    def __init__(self, observation_space: gymnasium.Space, clip: float = 10.0) -> None:
        """``observation_space`` is a 1-D Box, or a Dict with such a ``state``."""
        state = observation_space
        if isinstance(observation_space, gymnasium.spaces.Dict):
            state = observation_space.spaces["state"]
        assert state.shape is not None
        super().__init__(observation_space, state.shape[0])
        self.normaliser = RunningNormaliser(state.shape[0], clip)

    def forward(self, observations: Any) -> Tensor:
        """float32 ``[B, D]``."""
        state = observations["state"] if isinstance(observations, dict) else observations
        return self.normaliser(state)


def policy_keywords(actor_critic: ActorCritic, observation: str = "state") -> dict[str, Any]:
    """``policy_kwargs`` under which SB3 builds the same networks.

    Args:
        actor_critic: the policy whose shape is wanted.
        observation: ``state`` for SB3's MlpPolicy on a flat Box, ``dict`` for its
            MultiInputPolicy on robo's Dict observation.
    """
    config = actor_critic.config
    keywords: dict[str, Any] = {
        "net_arch": {"pi": list(config.hidden), "vf": list(config.hidden)},
        "activation_fn": ACTIVATIONS[config.activation],
        "log_std_init": math.log(config.initial_std),
    }
    if observation == "dict" or actor_critic.normaliser.active:
        keywords["features_extractor_class"] = StateExtractor
        keywords["features_extractor_kwargs"] = {"clip": actor_critic.normaliser.clip}
    return keywords


def to_sb3(actor_critic: ActorCritic, observation: str = "state") -> ActorCriticPolicy:
    """The same policy for SB3's PPO and A2C, on the CPU.

    A model made with :func:`policy_keywords` takes its weights:
    ``model.policy.load_state_dict(to_sb3(policy).state_dict())``. Observation statistics travel
    inside, so VecNormalize is not needed.

    Args:
        actor_critic: Gaussian or categorical; it is copied.
        observation: see :func:`policy_keywords`.

    Raises:
        RoboError: the critic reads features of the reward, which SB3's cannot.
    """
    if not isinstance(actor_critic, ActorCritic) or isinstance(actor_critic.distribution, Beta):
        raise RoboError(
            f"SB3 gets Gaussian or categorical MLPs over states, not network kind "
            f"{actor_critic.config.kind!r} with a {type(actor_critic.distribution).__name__}: "
            "save it as robo's own policy"
        )
    if actor_critic.critic_feature_dim:
        raise RoboError(
            f"this critic reads {actor_critic.critic_feature_dim} features from the reward, which "
            "SB3's critics cannot: export a policy trained without them"
        )
    if observation not in ("state", "dict"):
        raise RoboError(f"observation is {observation!r}, expected 'state' or 'dict'")
    space: gymnasium.Space = actor_critic.observation_space
    if observation == "state":
        space = actor_critic.observation_space.spaces["state"]
    action_space = actor_critic.action_space
    if isinstance(action_space, gymnasium.spaces.Discrete):
        action_space = gymnasium.spaces.Discrete(int(action_space.n))
    policy = ActorCriticPolicy(
        space, action_space, lambda _: 3e-4, **policy_keywords(actor_critic, observation)
    )
    for ours, theirs in _pairs(actor_critic, policy):
        theirs.load_state_dict(ours.state_dict())
    if actor_critic.log_std is not None:
        policy.log_std.data.copy_(actor_critic.log_std.detach())
    if isinstance(policy.features_extractor, StateExtractor):
        policy.features_extractor.normaliser.load_state_dict(actor_critic.normaliser.state_dict())
    policy.set_training_mode(False)
    return policy


def from_sb3(
    source: str | Path | BaseAlgorithm | ActorCriticPolicy,
    vec_normalize: VecNormalize | None = None,
) -> ActorCritic:
    """An SB3 PPO or A2C policy as ours, on the CPU.

    Args:
        source: a model, its policy, or the ``.zip`` that ``model.save`` wrote. SB3's files hold
            pickled code: load only those that you trust.
        vec_normalize: whose observation statistics the policy was trained with; a model that
            still has its environment brings its own.

    Raises:
        CheckpointError: the file is missing or cannot be read.
        RoboError: the policy is not a plain MLP: images, gSDE, other activations, or actor and
            critic of different widths.
    """
    model = _load(Path(source)) if isinstance(source, (str, Path)) else source
    policy: Any = model.policy if isinstance(model, BaseAlgorithm) else model
    if vec_normalize is None and isinstance(model, BaseAlgorithm):
        vec_normalize = model.get_vec_normalize_env()
    if not isinstance(policy, ActorCriticPolicy):
        raise RoboError(
            f"{type(policy).__name__} is not an actor-critic of SB3's PPO or A2C: other "
            "algorithms' policies have no counterpart here"
        )
    config = _network(policy)
    space = _observation_space(policy.observation_space)
    result = ActorCritic(space, policy.action_space, config)
    with torch.no_grad():
        for ours, theirs in _pairs(result, policy):
            ours.load_state_dict(theirs.state_dict())
        if result.log_std is not None:
            result.log_std.copy_(policy.log_std.detach())
    if isinstance(policy.features_extractor, StateExtractor):
        result.normaliser.load_state_dict(policy.features_extractor.normaliser.state_dict())
    if vec_normalize is not None and vec_normalize.norm_obs:
        _take_statistics(result, vec_normalize)
    return result


def _pairs(ours: ActorCritic, theirs: ActorCriticPolicy) -> list[tuple[nn.Linear, nn.Linear]]:
    """The linear layers of both, actor then critic, in order."""
    extractor = theirs.mlp_extractor
    assert isinstance(theirs.action_net, nn.Linear)
    their_layers = [
        *linear_layers(extractor.policy_net),
        theirs.action_net,
        *linear_layers(extractor.value_net),
        theirs.value_net,
    ]
    return list(
        zip([*linear_layers(ours.actor), *linear_layers(ours.critic)], their_layers, strict=True)
    )


def _load(path: Path) -> BaseAlgorithm:
    if not path.is_file() and not path.with_suffix(".zip").is_file():
        raise CheckpointError(
            f"there is no SB3 model at {path}: give the .zip that model.save wrote"
        )
    try:
        return PPO.load(path, device="cpu")
    # Damaged archives and pickles fail in many ways: all mean the same here.
    except Exception as error:
        raise CheckpointError(
            f"the SB3 model {path} cannot be read ({type(error).__name__}: {error}): it is "
            "damaged, or not of PPO or A2C"
        ) from error


def _network(policy: ActorCriticPolicy) -> NetworkConfig:
    """The shape of an SB3 policy's networks, refused where ours cannot have it."""
    extractor = policy.mlp_extractor
    widths = [
        tuple(layer.out_features for layer in linear_layers(part))
        for part in (extractor.policy_net, extractor.value_net)
    ]
    names = {kind: name for name, kind in ACTIVATIONS.items()}
    name = names.get(policy.activation_fn)
    plain = type(policy.features_extractor) in (FlattenExtractor, CombinedExtractor, StateExtractor)
    if policy.use_sde or name is None or widths[0] != widths[1] or not plain:
        raise RoboError(
            f"robo's policies are MLPs with equal hidden layers for actor and critic, activation "
            f"one of {sorted(ACTIVATIONS)} and no gSDE; this one has actor {widths[0]}, critic "
            f"{widths[1]}, activation {policy.activation_fn.__name__}, features by "
            f"{type(policy.features_extractor).__name__}, gSDE {policy.use_sde}"
        )
    std = 1.0 if getattr(policy, "log_std", None) is None else math.exp(policy.log_std_init)
    return NetworkConfig(hidden=widths[0], activation=name, initial_std=std)  # type: ignore[arg-type]


def _observation_space(space: gymnasium.Space) -> gymnasium.spaces.Dict:
    state: Any = space
    if isinstance(space, gymnasium.spaces.Dict):
        state = space.spaces.get("state") if len(space.spaces) == 1 else None
    if not isinstance(state, gymnasium.spaces.Box) or len(state.shape) != 1:
        raise RoboError(
            f"robo's policies read one vector, but this SB3 policy reads {space}: only a 1-D Box, "
            "or a Dict of a 'state' alone, can be taken over"
        )
    low, high = (np.asarray(bound, np.float32) for bound in (state.low, state.high))
    return gymnasium.spaces.Dict(state=gymnasium.spaces.Box(low, high, dtype=np.float32))


def _take_statistics(policy: ActorCritic, vec_normalize: VecNormalize) -> None:
    """Observation statistics of VecNormalize, whose formula is ours."""
    statistics: Any = vec_normalize.obs_rms
    if isinstance(statistics, dict):
        statistics = statistics["state"]
    normaliser = policy.normaliser
    if vec_normalize.clip_obs != normaliser.clip or vec_normalize.epsilon != 1e-8:
        raise RoboError(
            f"VecNormalize has clip_obs {vec_normalize.clip_obs} and epsilon "
            f"{vec_normalize.epsilon}, robo's policies use {normaliser.clip} and 1e-08: train "
            "with these"
        )
    normaliser.mean.copy_(torch.from_numpy(statistics.mean))
    normaliser.variance.copy_(torch.from_numpy(statistics.var))
    normaliser.count.fill_(float(statistics.count))
