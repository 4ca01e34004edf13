"""Captions follow from signals, and wording for judging is never trained on."""

from __future__ import annotations

import re

import numpy as np
import pytest

from robo.errors import RoboError
from robo.rewards.captions import CAPTION_SETS, DRIVING, LIFTING, caption_set, expand

SETS = list(CAPTION_SETS.values())


def words(sentences):
    return {word for text in sentences for word in re.findall(r"\w+", text)}


def test_expand():
    assert expand("{a|the} {red|} car") == ["a red car", "a car", "the red car", "the car"]
    assert expand("no slot") == ["no slot"]


@pytest.mark.parametrize("captions", SETS, ids=lambda captions: captions.name)
def test_held_out_wording_is_new_sentences_of_known_words(captions):
    trained = [text for scene in captions.scenes for text in scene.wording]
    for scene in captions.scenes:
        assert len(scene.held_out) >= 5 and len(scene.wording) >= 10
        assert not set(scene.held_out) & set(trained)
        assert words(scene.held_out) <= words(trained)


@pytest.mark.parametrize("captions", SETS, ids=lambda captions: captions.name)
def test_no_sentence_says_two_things(captions):
    every = [text for scene in captions.scenes for text in (*scene.wording, *scene.held_out)]
    assert len(every) == len(set(every))


def test_vlm_rls_own_sentences_are_held_out():
    from robo.rewards.language_config import NEGATIVE, POSITIVE

    pair = [DRIVING.scenes[DRIVING.index(name)] for name in (DRIVING.positive, DRIVING.negative)]
    assert POSITIVE.lower() in pair[0].held_out
    assert NEGATIVE.lower() in pair[1].held_out


def test_driving_labels():
    rows = {
        "clear_road": {},
        "imminent_collision": {"vehicle_gap": 6.0},
        "imminent_collision ": {"walker_gap": 5.0},
        "imminent_collision  ": {"collision_vehicle": 1.0, "collision": 1.0},
        "car_ahead": {"vehicle_gap": 15.0},
        "off_the_road": {"outside_lanes": 1.0, "route_offset": 3.0},
        "": {"vehicle_gap": 25.0},
        " ": {"collision": 1.0},
        "  ": {"vehicle_gap": 6.0, "route_offset": -2.5},
    }
    calm = {
        "vehicle_gap": 1000.0,
        "walker_gap": 1000.0,
        "route_offset": 0.0,
        "collision": 0.0,
        "collision_vehicle": 0.0,
        "outside_lanes": 0.0,
    }
    signals = {
        name: np.array([{**calm, **row}[name] for row in rows.values()], np.float32)
        for name in calm
    }
    found = DRIVING.label(signals)
    names = [DRIVING.scenes[index].name if index >= 0 else "" for index in found]
    assert names == [name.strip() for name in rows]


def test_lifting_labels():
    signals = {
        "cube_height": np.array([0.06, 0.02, 0.02, 0.06, 0.02]),
        "tool_cube_distance": np.array([0.01, 0.2, 0.01, 0.2, 0.05]),
    }
    found = LIFTING.label(signals)
    names = [LIFTING.scenes[index].name if index >= 0 else None for index in found]
    assert names == ["held", "on_the_table", "around", None, None]


def test_signals_of_another_task():
    with pytest.raises(RoboError, match="choose the captions of its kind"):
        LIFTING.label({"speed": np.zeros(3)})
    with pytest.raises(RoboError, match="expected one of"):
        caption_set("cooking")
