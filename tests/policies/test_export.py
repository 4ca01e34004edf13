"""Exported policies act as the policy does."""

from __future__ import annotations

import io
import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

from robo.commands.export import Export
from robo.errors import CheckpointError, RoboError
from robo.policies import export
from robo.policies.export import SUFFIXES, export_policy, load_deployed, random_observations
from robo.policies.learner_config import NetworkConfig
from robo.policies.policy_files import make_policy

BOX = gymnasium.spaces.Box(np.array([-2.0, -0.5], np.float32), np.array([2.0, 3.0], np.float32))
CHOICE = gymnasium.spaces.Discrete(3, start=1)


def vector_space(size=5):
    return gymnasium.spaces.Dict(state=gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32))


def image_space(size=64):
    def pixels(*shape):
        return gymnasium.spaces.Box(0, 255, shape, np.uint8)

    state = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    return gymnasium.spaces.Dict(
        {
            "state": state,
            "birdseye": pixels(3, size, size),
            "views/front": pixels(size, size, 3),
            "critic_state": gymnasium.spaces.Box(-1, 1, (2,), np.float32),
        }
    )


def trained(space, actions, config=None, seen=True):
    """A policy with parameters and statistics unlike the initial ones."""
    policy = make_policy(space, actions, config or NetworkConfig(), critic_feature_dim=0, seed=3)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=draw)
    if seen:
        rows = torch.randn(200, policy.state_dim, generator=draw)
        policy.normaliser.update(rows * torch.tensor([3.0, 0.1, 1, 1, 9])[: policy.state_dim] + 2)
    return policy


def needed(format):
    if format == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxscript")


@pytest.mark.parametrize(
    ("format", "actions"),
    [
        ("torchscript", BOX),
        ("torchscript", CHOICE),
        ("safetensors", BOX),
        ("onnx", BOX),
        pytest.param("onnx", CHOICE, marks=pytest.mark.slow),
    ],
)
def test_mlp_exports_act_alike(tmp_path, format, actions):
    needed(format)
    policy = trained(vector_space(), actions)
    path = tmp_path / f"policy{SUFFIXES[format]}"
    result = export_policy(policy, path, format)
    assert result["largest_difference"] <= 1e-6
    assert result["inputs"] == [{"name": "state", "dtype": "float32", "shape": [5]}]
    assert path.stat().st_size == result["bytes"]
    assert result["output"]["dtype"] == ("int64" if actions is CHOICE else "float32")
    if format == "onnx":
        import onnx

        graph = onnx.load(path).graph
        assert [one.name for one in graph.input] == ["state"]
        assert [one.name for one in graph.output] == ["action"]


@pytest.mark.parametrize(
    "format", ["torchscript", "safetensors", pytest.param("onnx", marks=pytest.mark.slow)]
)
def test_image_exports_act_alike(tmp_path, format):
    needed(format)
    policy = trained(image_space(), BOX, NetworkConfig(kind="carl_small", precision="bfloat16"))
    result = export_policy(policy, tmp_path / "policy", format, samples=3)
    assert [one["name"] for one in result["inputs"]] == ["state", "birdseye", "views/front"]
    assert result["inputs"][2] == {"name": "views/front", "dtype": "uint8", "shape": [64, 64, 3]}
    assert result["action"] == "the Beta's mean"


@pytest.mark.parametrize("format", ["torchscript", "safetensors"])
@pytest.mark.parametrize("width", [4, 0])
def test_images_of_gymnasium_tasks_are_exported(tmp_path, format, width):
    state = gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32)
    camera = gymnasium.spaces.Box(0, 255, (40, 32, 3), np.uint8)
    space = gymnasium.spaces.Dict(state=state, camera=camera)
    policy = trained(space, BOX, NetworkConfig(kind="carl_small"))
    assert policy.images == {"camera": (3, 40, 32)}
    result = export_policy(policy, tmp_path / "policy", format, samples=3)
    assert result["inputs"][1] == {"name": "camera", "dtype": "uint8", "shape": [40, 32, 3]}


def test_a_policy_that_never_normalised_is_exported_without_clipping(tmp_path):
    policy = trained(vector_space(), BOX, seen=False)
    export_policy(policy, tmp_path / "p.pt", "torchscript")
    module = torch.jit.load(tmp_path / "p.pt")
    state = np.full((1, 5), 1e3, np.float32)
    action, _ = policy.act({"state": state}, np.random.default_rng(0), deterministic=True)
    np.testing.assert_allclose(
        module(torch.from_numpy(state)).numpy(), policy.environment_action(action), rtol=1e-5
    )


def test_actions_are_clipped_and_the_batch_is_free(tmp_path):
    policy = trained(vector_space(), BOX)
    with torch.no_grad():
        policy.actor[-1].bias += torch.tensor([50.0, -50.0])
    export_policy(policy, tmp_path / "p.pt", "torchscript")
    module = torch.jit.load(tmp_path / "p.pt")
    for count in (1, 7):
        action = module(torch.zeros(count, 5)).numpy()
        np.testing.assert_array_equal(action, np.tile([[2.0, -0.5]], (count, 1)))


def test_safetensors_come_back_and_hold_no_critic(tmp_path):
    policy = trained(vector_space(), CHOICE)
    path = tmp_path / "p.safetensors"
    export_policy(policy, path, "safetensors")
    deployed, description = load_deployed(path)
    observation = random_observations(policy, 9, seed=5)
    action, _ = policy.act(observation, np.random.default_rng(0), deterministic=True)
    with torch.no_grad():
        given = deployed(torch.from_numpy(observation["state"])).numpy()
    np.testing.assert_array_equal(given, policy.environment_action(action))
    assert description["output"] == {"dtype": "int64", "shape": []}
    assert not [name for name in deployed.state_dict() if "critic" in name]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match="export it again"):
        load_deployed(path)


def test_files_say_what_they_read(tmp_path):
    policy = trained(vector_space(), BOX)
    extra = {"robo.json": ""}
    export_policy(policy, tmp_path / "p.pt", "torchscript")
    torch.jit.load(io.BytesIO((tmp_path / "p.pt").read_bytes()), _extra_files=extra)
    assert json.loads(extra["robo.json"])["inputs"][0]["name"] == "state"


def test_a_file_that_acts_otherwise_is_not_written(tmp_path, monkeypatch):
    policy = trained(vector_space(), BOX)
    monkeypatch.setattr(export, "_torch_runner", lambda module, names: lambda o: o["state"][:, :2])
    with pytest.raises(RoboError, match="acts unlike the policy"):
        export_policy(policy, tmp_path / "p.pt", "torchscript")
    assert not (tmp_path / "p.pt").exists()
    with pytest.raises(RoboError, match="expected one of"):
        export_policy(policy, tmp_path / "p", "tflite")  # type: ignore[arg-type]


def test_the_command_finds_the_policy_and_reports(tmp_path):
    trained(vector_space(), BOX).save(tmp_path / "run" / "policy")
    command = Export(tmp_path / "run", "torchscript", out=tmp_path / "out")
    result = command.run()
    assert Path(result["path"]) == tmp_path / "out" / "policy.pt"
    assert torch.jit.load(result["path"])(torch.zeros(2, 5)).shape == (2, 2)
    with pytest.raises(RoboError, match="nowhere to write"):
        Export(tmp_path, out=None)
    with pytest.raises(RoboError, match="holds no policy"):
        Export(tmp_path / "none").run()
