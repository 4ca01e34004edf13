"""A policy on disk: ``policy.safetensors`` (tensors) and ``policy.json`` (how to build it).

The same JSON text travels in the header of the tensor file with a checksum of the tensors, so
that a damaged or mixed pair is noticed.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import torch

import robo
from robo.errors import CheckpointError
from robo.policies.spaces import space_from_json, space_to_json
from robo.storage import checksum, write_together

if TYPE_CHECKING:
    from robo.policies.learner_config import NetworkConfig
    from robo.policies.policy import Policy

FORMAT = 1


def make_policy(
    observation_space: gymnasium.Space,
    action_space: gymnasium.Space,
    config: NetworkConfig,
    critic_feature_dim: int = 0,
    seed: int = 0,
) -> Policy:
    """The policy of the kind that ``config`` names, with fresh parameters drawn from ``seed``.

    Args:
        observation_space: Dict of a single environment.
        action_space: of a single environment.
        config: kind and shape of the network.
        critic_feature_dim: numbers that the reward gives to the critic.
        seed: of the initial parameters.

    Raises:
        RoboError: where the network cannot read or act in these spaces.
    """
    from robo.policies.actor_critic import ActorCritic
    from robo.policies.image_actor_critic import ImageActorCritic

    make: Any = ActorCritic if config.kind == "mlp" else ImageActorCritic
    if config.kind == "transformer":
        from robo.policies.transformer_policy import TransformerPolicy

        make = TransformerPolicy
    elif config.kind == "vla":
        from robo.policies.vla import VLAPolicy

        make = VLAPolicy
    return make(observation_space, action_space, config, critic_feature_dim, seed)


def save_policy(policy: Policy, folder: Path) -> None:
    """Write both files to ``folder``, which is made where missing.

    Raises:
        RoboError: full disk, missing permission; the folder's earlier policy stays.
    """
    from safetensors.torch import save

    tensors = {
        name: tensor.detach().cpu().clone().contiguous()
        for name, tensor in policy.state_dict().items()
    }
    description = json.dumps(
        {
            "format": FORMAT,
            "robo": robo.__version__,
            "network": dataclasses.asdict(policy.config),
            "critic_feature_dim": policy.critic_feature_dim,
            "observation_space": space_to_json(policy.observation_space),
            "action_space": space_to_json(policy.action_space),
        },
        indent=1,
    )
    header = {"policy": description, "sha256": checksum(tensors)}
    write_together(
        {
            folder / "policy.safetensors": save(tensors, header),
            folder / "policy.json": description.encode(),
        }
    )


def load_policy(folder: Path) -> Policy:
    """Read both files from ``folder``.

    Raises:
        CheckpointError: where one is missing, damaged or does not belong to the other, or a
            parameter is not finite.
    """
    for name in ("policy.json", "policy.safetensors"):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"there is no policy in {folder}: {name} is missing; give the folder of a "
                "training run or of a saved policy"
            )
    try:
        return _load(folder)
    except CheckpointError:
        raise
    # Damaged files fail in many ways (JSON, header, shapes, names): all mean the same here.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"the policy in {folder} cannot be read ({reason}): its files are damaged or from "
            "another version; use another checkpoint"
        ) from error


def _load(folder: Path) -> Policy:
    from safetensors import safe_open

    from robo.policies.learner_config import NetworkConfig

    text = (folder / "policy.json").read_text()
    description: dict[str, Any] = json.loads(text)
    if description["format"] != FORMAT:
        raise CheckpointError(
            f"the policy in {folder} has format {description['format']}, this version of robo "
            f"reads format {FORMAT}: use the version that wrote it"
        )
    with safe_open(folder / "policy.safetensors", "pt") as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if header.get("sha256") != checksum(tensors) or header.get("policy") != text:
        raise CheckpointError(
            f"the policy in {folder} is damaged: policy.safetensors does not match its checksum "
            "or policy.json; use another checkpoint"
        )
    wrong = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if wrong:
        raise CheckpointError(
            f"the policy in {folder} holds NaN or infinite parameters ({', '.join(wrong[:3])}), "
            "expected finite ones: the run that wrote it diverged; use another checkpoint"
        )
    network = description["network"]
    network["hidden"] = tuple(network["hidden"])
    observation_space = space_from_json(description["observation_space"])
    policy = make_policy(
        observation_space,
        space_from_json(description["action_space"]),
        NetworkConfig(**network),
        description["critic_feature_dim"],
    )
    policy.load_state_dict(tensors)
    return policy
