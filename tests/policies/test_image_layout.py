"""Images of any environment: which axis holds the channels, and images without a state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict

from robo.errors import RoboError
from robo.policies.image_layout import channels_first, channels_last, image_shapes
from robo.policies.learner_config import NetworkConfig
from robo.policies.normalise import RunningNormaliser
from robo.policies.policy_files import load_policy, make_policy

STEERING = Box(-1.0, 1.0, (2,), np.float32)
SMALL = NetworkConfig(kind="carl_small")


def space(size: int, **images: tuple[int, ...]) -> Dict:
    entries = {name: Box(0, 255, shape, np.uint8) for name, shape in images.items()}
    return Dict({"state": Box(-np.inf, np.inf, (size,), np.float32), **entries})


@pytest.mark.parametrize(
    ("name", "shape", "channels"),
    [
        ("camera", (96, 96, 3), 3),
        ("image", (24, 40, 3), 3),
        ("image", (210, 160, 1), 1),
        ("stacked", (84, 84, 12), 12),
        ("grid", (7, 7, 3), 3),
        ("grid", (3, 3, 3), 3),
        ("image", (4, 84, 84), 4),
        ("image", (1, 28, 28), 1),
        ("camera", (3, 24, 40), 3),
        ("birdseye", (15, 64, 64), 15),
        ("birdseye", (15, 8, 8), 15),
        ("views/front", (48, 64, 3), 3),
        ("views/front", (2, 2, 3), 3),
    ],
)
def test_channels_are_found(name, shape, channels):
    found = image_shapes(space(1, **{name: shape}))[name]
    assert found[0] == channels
    images = torch.zeros(5, *shape, dtype=torch.uint8)
    assert channels_first(name, images).shape == (5, *found)
    assert channels_last(name, shape) == (found != shape or (name == "grid" and shape == (3, 3, 3)))


def test_what_is_no_image_is_left_out():
    entries = {**space(2, camera=(8, 8, 3)).spaces, "flat": Box(0, 255, (9,), np.uint8)}
    entries["depth"] = Box(0, 1, (8, 8, 1), np.float32)
    assert image_shapes(Dict(entries)) == {"camera": (3, 8, 8)}


def test_a_camera_of_a_gymnasium_task_is_read_as_a_view_is():
    """The same picture under another key gives the same features, and none by chance."""
    camera = make_policy(space(2, camera=(32, 24, 3)), STEERING, SMALL, seed=1)
    view = make_policy(space(2, **{"views/front": (32, 24, 3)}), STEERING, SMALL, seed=1)
    draw = np.random.default_rng(0)
    image = draw.integers(0, 256, (4, 32, 24, 3), dtype=np.uint8)
    state = draw.standard_normal((4, 2)).astype(np.float32)
    given = camera.actor_output({"state": state, "camera": image})
    np.testing.assert_array_equal(given, view.actor_output({"state": state, "views/front": image}))
    assert np.ptp(given, axis=0).min() > 0


@pytest.mark.parametrize(
    "config", [SMALL, NetworkConfig(kind="transformer", patch=8)], ids=lambda one: one.kind
)
def test_an_empty_state_is_no_input(tmp_path, config):
    of = space(0, image=(32, 24, 3))
    policy = make_policy(of, STEERING, config, seed=1)
    image = np.random.default_rng(0).integers(0, 256, (4, 32, 24, 3), dtype=np.uint8)
    observation = {"state": np.zeros((4, 0), np.float32), "image": image}
    policy.observe({name: torch.from_numpy(part) for name, part in observation.items()}, None)
    output = policy.actor_output(observation)
    assert np.ptp(output, axis=0).max() > 0
    assert all(parameter.numel() for parameter in policy.parameters())
    policy.save(tmp_path)
    again = load_policy(tmp_path)
    assert again.observation_space == of
    np.testing.assert_array_equal(again.actor_output(observation), output)


def test_nothing_is_normalised_of_an_empty_vector():
    normaliser = RunningNormaliser(0)
    normaliser.update(np.zeros((3, 2, 0), np.float32))
    assert not normaliser.active and normaliser(torch.zeros(2, 0)).shape == (2, 0)


def test_a_policy_of_states_refuses_an_empty_one():
    with pytest.raises(RoboError, match=r"empty beside \['image'\]: choose --network.kind carl_sm"):
        make_policy(space(0, image=(32, 24, 3)), STEERING, NetworkConfig(kind="mlp"))
