"""The policy alone, for a robot or another program: TorchScript, ONNX or safetensors.

What is exported reads an observation as the environment gives it (raw state, uint8 images) and
returns the action that the environment takes: normalisation, the actor, the most probable action
(of a Beta its mean) and the bounds of the action space are inside; the critic is not. Every file
is read back and compared with the policy before it takes its place.
"""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from robo.errors import CheckpointError, MissingExtraError, RoboError
from robo.policies.actor_critic import ActorCritic
from robo.policies.distributions import Categorical, DiagonalGaussian
from robo.policies.image_actor_critic import ImageActorCritic
from robo.policies.image_layout import channels_first
from robo.policies.learner_config import NetworkConfig
from robo.policies.policy import Policy
from robo.policies.policy_files import make_policy
from robo.policies.spaces import space_from_json, space_to_json
from robo.storage import write_bytes

Format = Literal["torchscript", "onnx", "safetensors"]
SUFFIXES: dict[str, str] = {"torchscript": ".pt", "onnx": ".onnx", "safetensors": ".safetensors"}
TOLERANCE = 1e-6
"""Largest difference of an action, over the largest of 1 and the action's size."""

Runner = Callable[[dict[str, np.ndarray]], np.ndarray]
"""From observations ``[N, ...]`` by name to actions ``[N, ...]``."""


class DeployedPolicy(nn.Module):
    """Observation tensors ``[N, ...]``, in the order of :attr:`names`, to environment actions.

    Attributes:
        names: of the observation entries that it reads: ``state``, then the images.
    """

    shift: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, policy: Policy) -> None:
        """Copies what it needs of ``policy``, to the CPU and float32.

        Raises:
            RoboError: a kind of policy that has no export.
        """
        super().__init__()
        if policy.config.kind in ("transformer", "vla") or policy.config.bins:
            raise RoboError(
                f"network kind {policy.config.kind!r} cannot be exported yet: no format knows "
                "chunks and bins; use its folder (robo evaluate --policy)"
            )
        policy = copy.deepcopy(policy).cpu().float()
        normaliser = policy.normaliser
        seen = normaliser.active
        shift = normaliser.mean if seen else torch.zeros_like(normaliser.mean)
        scale = (normaliser.variance + 1e-8).rsqrt() if seen else torch.ones_like(shift)
        self.register_buffer("shift", shift.float())
        self.register_buffer("scale", scale.float())
        self.clip = float(normaliser.clip) if seen else float("inf")
        self.images: tuple[str, ...] = ()
        if isinstance(policy, ActorCritic):
            self.network: Any = policy.actor
        elif isinstance(policy, ImageActorCritic):
            self.images = tuple(policy.images)
            self.network = policy.network
            self.network.critic_head = nn.Identity()
        else:
            raise RoboError(f"{type(policy).__name__} cannot be exported: no format knows it")
        self.names: tuple[str, ...] = ("state", *self.images)
        self._keep_action(policy)
        self.requires_grad_(False).eval()

    def _keep_action(self, policy: Policy) -> None:
        """How the network's output becomes an action."""
        space, kind = policy.action_space, policy.distribution
        if isinstance(kind, Categorical):
            assert isinstance(space, gymnasium.spaces.Discrete)
            self.mode, self.start = "choice", int(space.start)
            return
        assert isinstance(space, gymnasium.spaces.Box)
        self.mode = "mean" if isinstance(kind, DiagonalGaussian) else "beta"
        self.register_buffer("low", torch.as_tensor(space.low, dtype=torch.float32))
        self.register_buffer("high", torch.as_tensor(space.high, dtype=torch.float32))

    def forward(self, state: Tensor, *images: Tensor) -> Tensor:
        """Action float32 ``[N, A]``, or int64 ``[N]``.

        Args:
            state: float32 ``[N, D]``.
            images: uint8, as the observation has them.
        """
        inputs = (state - self.shift) * self.scale
        if self.clip != float("inf"):
            inputs = inputs.clamp(-self.clip, self.clip)
        if self.images:
            maps = [self._map(name, one) for name, one in zip(self.images, images, strict=True)]
            output = self.network.actor(self.network.features(maps, inputs))
        else:
            output = self.network(inputs)
        return self._action(output)

    @staticmethod
    def _map(name: str, image: Tensor) -> Tensor:
        """Channels first, 0 ... 1."""
        return channels_first(name, image).float() * (1.0 / 255.0)

    def _action(self, output: Tensor) -> Tensor:
        if self.mode == "choice":
            return output.argmax(-1) + self.start
        if self.mode == "beta":
            alpha, beta = (nn.functional.softplus(output) + 1.0).chunk(2, -1)
            output = self.low + (self.high - self.low) * (alpha / (alpha + beta))
        return torch.minimum(torch.maximum(output, self.low), self.high)


def export_policy(policy: Policy, path: Path, format: Format, samples: int = 16) -> dict[str, Any]:
    """Write ``policy`` to ``path``, atomically, after reading it back.

    Args:
        policy: any that ``robo train`` makes; trained in bfloat16, it acts in float32 here.
        path: of the file.
        format: torchscript, onnx or safetensors (which :func:`load_deployed` reads).
        samples: random observations on which the file is compared with the policy.

    Returns:
        ``format``, ``path``, ``bytes``, ``inputs`` (name, dtype and shape without the batch),
        ``output`` (dtype, shape), ``action``, ``checked_with``, ``largest_difference``.

    Raises:
        MissingExtraError: onnx without its packages.
        RoboError: the file's actions differ from the policy's, or it cannot be written.
    """
    if format not in SUFFIXES:
        raise RoboError(f"format is {format!r}, expected one of {', '.join(SUFFIXES)}")
    deployed = DeployedPolicy(policy)
    observation = random_observations(policy, samples)
    description = describe(policy, deployed)
    writers = {"torchscript": _torchscript, "onnx": _onnx, "safetensors": _safetensors}
    content, checked_with, run = writers[format](deployed, observation, description)
    difference = largest_difference(policy, run, observation)
    if not difference <= TOLERANCE:
        raise RoboError(
            f"the exported {format} file acts unlike the policy: an action differs by "
            f"{difference:.1e} of its size, expected at most {TOLERANCE:.0e}; nothing was written"
        )
    write_bytes(Path(path), content)
    return {
        "format": format,
        "path": str(path),
        "bytes": len(content),
        **{name: description[name] for name in ("inputs", "output", "action")},
        "checked_with": checked_with,
        "largest_difference": difference,
    }


def describe(policy: Policy, deployed: DeployedPolicy) -> dict[str, Any]:
    """What a reader of the file must know, as JSON values."""
    spaces = policy.observation_space.spaces
    config = dataclasses.replace(policy.config, precision="float32")
    discrete = deployed.mode == "choice"
    return {
        "inputs": [
            {
                "name": name,
                "dtype": "float32" if name == "state" else "uint8",
                "shape": list(spaces[name].shape or ()),
            }
            for name in deployed.names
        ],
        "output": {
            "dtype": "int64" if discrete else "float32",
            "shape": [] if discrete else list(policy.action_space.shape or ()),
        },
        "action": {"choice": "the likeliest", "mean": "the mean", "beta": "the Beta's mean"}[
            deployed.mode
        ],
        "network": dataclasses.asdict(config),
        "clip": None if deployed.clip == float("inf") else deployed.clip,
        "observation_space": space_to_json(policy.observation_space),
        "action_space": space_to_json(policy.action_space),
    }


def random_observations(policy: Policy, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """``count`` observations of the policy's inputs: states as spread as those it has seen."""
    generator = np.random.default_rng(seed)
    normaliser = policy.normaliser
    spread = normaliser.variance.sqrt().cpu().numpy() * 2
    state = normaliser.mean.cpu().numpy() + spread * generator.standard_normal(
        (count, policy.state_dim)
    )
    observation: dict[str, np.ndarray] = {"state": state.astype(np.float32)}
    for name in getattr(policy, "images", ()):
        shape = (count, *(policy.observation_space.spaces[name].shape or ()))
        observation[name] = generator.integers(0, 256, shape, dtype=np.uint8)
    return observation


def largest_difference(policy: Policy, run: Runner, observation: dict[str, np.ndarray]) -> float:
    """Between the policy's environment actions and ``run``'s, over max(1, their size)."""
    twin = copy.deepcopy(policy).cpu().float()
    twin.config = dataclasses.replace(twin.config, precision="float32")
    action, _ = twin.act(observation, np.random.default_rng(0), deterministic=True)
    wanted = twin.environment_action(action).astype(np.float64)
    given = run(observation).astype(np.float64)
    if given.shape != wanted.shape:
        return float("inf")
    return float((np.abs(given - wanted) / np.maximum(1.0, np.abs(wanted))).max())


def load_deployed(path: Path) -> tuple[DeployedPolicy, dict[str, Any]]:
    """What :func:`export_policy` wrote as safetensors, and its description.

    Raises:
        CheckpointError: the file is missing, damaged or no export of a policy.
    """
    try:
        return _deployed_of(Path(path).read_bytes())
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read as an exported policy ({str(error).splitlines()[0]}): export "
            "it again with `robo export --format safetensors`"
        ) from error


def _deployed_of(content: bytes) -> tuple[DeployedPolicy, dict[str, Any]]:
    from safetensors.torch import load

    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    description = json.loads(header["__metadata__"]["robo_export"])
    network = {**description["network"], "hidden": tuple(description["network"]["hidden"])}
    observation_space = space_from_json(description["observation_space"])
    action_space = space_from_json(description["action_space"])
    deployed = DeployedPolicy(
        make_policy(observation_space, action_space, NetworkConfig(**network))
    )
    deployed.load_state_dict(load(content))
    deployed.clip = float("inf") if description["clip"] is None else description["clip"]
    return deployed, description


def _tensors(deployed: DeployedPolicy, observation: dict[str, np.ndarray]) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(observation[name]) for name in deployed.names)


def _safetensors(
    deployed: DeployedPolicy, observation: dict[str, np.ndarray], description: dict[str, Any]
) -> tuple[bytes, str, Runner]:
    from safetensors.torch import save

    tensors = {name: tensor.contiguous() for name, tensor in deployed.state_dict().items()}
    content = save(tensors, {"robo_export": json.dumps(description)})
    again, _ = _deployed_of(content)
    return content, "robo.policies.export.load_deployed", _torch_runner(again, deployed.names)


def _torchscript(
    deployed: DeployedPolicy, observation: dict[str, np.ndarray], description: dict[str, Any]
) -> tuple[bytes, str, Runner]:
    file = io.BytesIO()
    # Traced on one row and checked on many, so that a batch size frozen in would show.
    example = tuple(tensor[:1] for tensor in _tensors(deployed, observation))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(deployed, example)
        assert isinstance(traced, torch.jit.ScriptModule)
        torch.jit.save(traced, file, {"robo.json": json.dumps(description).encode()})
        again = torch.jit.load(io.BytesIO(file.getvalue()))
    return file.getvalue(), "torch.jit", _torch_runner(again, deployed.names)


def _torch_runner(module: Any, names: tuple[str, ...]) -> Runner:
    def run(observation: dict[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            return module(*(torch.from_numpy(observation[name]) for name in names)).numpy()

    return run


def _onnx(
    deployed: DeployedPolicy, observation: dict[str, np.ndarray], description: dict[str, Any]
) -> tuple[bytes, str, Runner]:
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise MissingExtraError(
            f"exporting to ONNX needs {error.name}: run `pip install onnx onnxscript onnxruntime`, "
            "or choose --format torchscript"
        ) from error
    tensors = _tensors(deployed, observation)
    batch = torch.export.Dim("batch")
    shapes: Any = ({0: batch}, tuple({0: batch} for _ in tensors[1:]))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            deployed,
            tensors,
            input_names=list(deployed.names),
            output_names=["action"],
            dynamic_shapes=shapes if deployed.images else shapes[:1],
            dynamo=True,
            verbose=False,
            optimize=True,
        )
    assert program is not None
    model = program.model_proto
    model.metadata_props.add(key="robo_export", value=json.dumps(description))
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    return content, *_onnx_runner(content, model)


def _onnx_runner(content: bytes, model: Any) -> tuple[str, Runner]:
    """Onnxruntime where it is installed, else ONNX's own slow reference."""
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        session: Any = ReferenceEvaluator(model)
        name = "onnx.reference"
    else:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        name = "onnxruntime"
    return name, lambda observation: session.run(["action"], observation)[0]
