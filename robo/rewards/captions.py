"""Sentences for simulator frames, from privileged state: what a domain image-text model learns of.

A *scene* is a state of affairs that signals decide (the road is clear; the cube is held) with many
ways of saying it. Some ways are kept back: a model is judged by wording that it has not read.
Every word of the kept-back wording occurs in the rest; the sentences do not.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from robo.errors import RoboError

Signals = Mapping[str, np.ndarray]
HELD_OUT_SHARE = 5
"""Of the sentences of ordinary templates, one in so many is kept back."""
_SLOT = re.compile(r"\{([^{}]*)\}")


def expand(template: str) -> list[str]:
    """Every sentence of a template: ``"{a|the} car"`` gives "a car" and "the car"."""
    parts = _SLOT.split(template)
    choices = [part.split("|") if at % 2 else [part] for at, part in enumerate(parts)]
    return [" ".join("".join(words).split()) for words in itertools.product(*choices)]


def kept_back(sentence: str) -> bool:
    """Whether a sentence of an ordinary template is for judging only; the same everywhere."""
    return zlib.crc32(sentence.encode()) % HELD_OUT_SHARE == 0


@dataclass(frozen=True)
class Scene:
    """A state of affairs and its wording."""

    name: str
    """Short name."""
    holds: Callable[[Signals], np.ndarray]
    """Signals ``[L]`` each to bool ``[L]``."""
    templates: tuple[str, ...]
    """Wording, see :func:`expand`; most of it is for training."""
    unread: tuple[str, ...] = ()
    """Templates that are kept back whole."""

    @property
    def wording(self) -> list[str]:
        """Sentences for training."""
        return [text for text in self._all() if not kept_back(text)]

    @property
    def held_out(self) -> list[str]:
        """Sentences for judging, none of which is among :attr:`wording`."""
        read = set(self.wording)
        rest = [text for text in self._all() if kept_back(text)]
        whole = [text for template in self.unread for text in expand(template)]
        return [text for text in dict.fromkeys([*whole, *rest]) if text not in read]

    def _all(self) -> list[str]:
        found = [text for template in self.templates for text in expand(template)]
        return list(dict.fromkeys(found))


@dataclass(frozen=True)
class CaptionSet:
    """The scenes of one kind of task, the most urgent first."""

    name: str
    """Names it on a command line."""
    signals: tuple[str, ...]
    """What the scenes are decided by."""
    scenes: tuple[Scene, ...]
    """The first that holds names the state; some states have none."""
    positive: str
    """Name of the scene that is a goal."""
    negative: str
    """Name of its opposite."""
    view: str = "front"
    """Camera role that shows it."""
    crop: tuple[float, float, float, float] = field(default=(0.0, 0.0, 1.0, 1.0))
    """Part of the image that shows it; see :class:`robo.perception.clip_config.ImageSource`."""
    mirrored: bool = False
    """A frame's mirror image shows the same scene: no sentence tells left from right."""

    def label(self, signals: Signals) -> np.ndarray:
        """Index of each state's scene, int64 ``[L]``; -1 for none.

        Raises:
            RoboError: a signal is missing.
        """
        missing = [name for name in self.signals if name not in signals]
        if missing:
            raise RoboError(
                f"captions {self.name!r} read signals {missing}, but the episode has "
                f"{sorted(signals)}: choose the captions of its kind of task"
            )
        length = len(np.asarray(signals[self.signals[0]]))
        labels = np.full(length, -1, np.int64)
        for index in reversed(range(len(self.scenes))):
            labels[np.asarray(self.scenes[index].holds(signals), bool)] = index
        return labels

    def index(self, name: str) -> int:
        """Index of the scene called ``name``."""
        return [scene.name for scene in self.scenes].index(name)

    @property
    def goals(self) -> tuple[str, str]:
        """The pair of goals in training wording, all of it, paraphrases divided by ``|``."""
        pair = (self.scenes[self.index(name)].wording for name in (self.positive, self.negative))
        positive, negative = (" | ".join(wording) for wording in pair)
        return positive, negative


# ---------------------------------------------------------------------------- driving

CLEAR, CLOSE, AHEAD = 30.0, 8.0, 20.0
"""m along the route to the next body's centre: none within, about to be hit, ahead."""
ON_ROUTE = 2.0
"""m from the route up to which gaps along it say what is in front of the car."""


def _gap(signals: Signals) -> np.ndarray:
    return np.minimum(signals["vehicle_gap"], signals["walker_gap"])


def _clear(signals: Signals) -> np.ndarray:
    on_route = np.abs(signals["route_offset"]) < ON_ROUTE
    return on_route & (_gap(signals) > CLEAR) & (signals["collision"] == 0)


def _imminent(signals: Signals) -> np.ndarray:
    # Off the route, what is in the way of the route is not what the car has before it.
    on_route = np.abs(signals["route_offset"]) < ON_ROUTE
    return (on_route & (_gap(signals) < CLOSE)) | (signals["collision_vehicle"] > 0)


def _ahead(signals: Signals) -> np.ndarray:
    on_route = np.abs(signals["route_offset"]) < ON_ROUTE
    return on_route & (_gap(signals) >= CLOSE + 2) & (_gap(signals) < AHEAD)


def _off(signals: Signals) -> np.ndarray:
    return (signals["outside_lanes"] > 0) & (np.abs(signals["route_offset"]) > ON_ROUTE)


DRIVING = CaptionSet(
    name="driving",
    signals=(
        "vehicle_gap",
        "walker_gap",
        "route_offset",
        "collision",
        "collision_vehicle",
        "outside_lanes",
    ),
    scenes=(
        Scene(
            "imminent_collision",
            _imminent,
            (
                "{a|the|one|another} {car|vehicle} is {about to be hit|very close|right in front}",
                "{a|the} collision with {a|another} {car|vehicle} is {about to happen|imminent}",
                "the {car|vehicle} {is about to hit|will hit|is going to hit} {a|the|another} "
                "{car|vehicle}",
                "two {cars|vehicles} {are about to collide|will collide|collide|have collided}",
                "{there is|we see} {an accident|a crash|a collision} {on the road|in front|}",
                "the {cars|vehicles} {have hit|hit|touch} each other",
                "{danger|stop|brake}, {a|the} {car|vehicle} is {very close|right in front}",
                "the {road|lane|way} in front is blocked by {a|the|another} {car|vehicle}",
            ),
            (
                "two cars have collided with each other on the road",
                "a crash is about to happen",
                "the car will collide with another vehicle",
                "another car is blocked right in front, danger",
            ),
        ),
        Scene(
            "clear_road",
            _clear,
            (
                "the {road|lane|way|street} {ahead|in front|} is {clear|free|empty|open}",
                "{there is|we see} no {car|vehicle|other car|danger} {ahead|in front|close}",
                "{a|the} {clear|free|empty|open} {road|lane|street} {ahead|without any cars|}",
                "no {cars|vehicles|accidents|collisions} {ahead|in front|on the road}",
                "the road is {safe|free|clear}, no {accident|collision|danger|car} {ahead|close|}",
                "{nothing|nobody|no car} is in the way {ahead|of the car|}",
                "the car {can drive|drives on|drives} {freely|safely} with no {car|danger} close",
            ),
            (
                "the road is clear with no car accidents",
                "an empty way without any danger",
                "nothing is close, the street is free",
                "the car drives on an open road",
            ),
        ),
        Scene(
            "car_ahead",
            _ahead,
            (
                "{a|the|another} {car|vehicle} {drives|is} {some way|some metres} ahead",
                "{there is|we see} {a|another} {car|vehicle} ahead {at some distance|far enough|}",
                "the car follows {a|another} {car|vehicle} {at some distance|safely}",
                "{traffic|a car|a vehicle} ahead, {but|still} at some distance",
            ),
        ),
        Scene(
            "off_the_road",
            _off,
            (
                "the car {has left|leaves|is off|is not on} the {road|lane|street}",
                "the car {drives|is} {on the grass|beside the road|off the road}",
                "{we see|there is} the car {beside the lane|outside the lane|on the grass}",
            ),
        ),
    ),
    positive="clear_road",
    negative="imminent_collision",
    view="bird",
    # Of a top view of 80 m whose middle is 8 m ahead: 12 m to the sides, 20 m ahead, 4 m behind.
    crop=(0.35, 0.35, 0.65, 0.65),
    mirrored=True,
)
"""Top views of driving (``carla-standin/...``, ``carla/...``)."""


# ---------------------------------------------------------------------------- lifting


def _held(signals: Signals) -> np.ndarray:
    return (signals["cube_height"] > 0.032) & (signals["tool_cube_distance"] < 0.04)


def _far(signals: Signals) -> np.ndarray:
    return (signals["cube_height"] < 0.025) & (signals["tool_cube_distance"] > 0.06)


def _around(signals: Signals) -> np.ndarray:
    return (signals["cube_height"] < 0.025) & (signals["tool_cube_distance"] < 0.03)


LIFTING = CaptionSet(
    name="lifting",
    signals=("cube_height", "tool_cube_distance"),
    scenes=(
        Scene(
            "held",
            _held,
            (
                "the {gripper|robot|hand} {holds|has|has lifted|lifts|carries} {the|a} {red|} "
                "{cube|block}",
                "the {red|} {cube|block} is {held|lifted|carried} {by the robot|by the gripper|}",
                "the {red|} {cube|block} is {in the gripper|in the hand|in the air}",
                "{the|a} {red|} {cube|block} hangs {in the air|above the table} {in the gripper|}",
                "the {task|lift} is {done|solved}, the {cube|block} is in the {air|hand}",
            ),
            (
                "the robot holds the block above the table",
                "a lifted cube hangs in the hand",
                "the gripper carries a cube in the air",
            ),
        ),
        Scene(
            "on_the_table",
            _far,
            (
                "the {red|} {cube|block} {lies|rests|stands|is} on the table",
                "the {gripper|robot|hand} is {empty|open|far from the cube|away from the block}",
                "the {gripper|robot|hand} {holds nothing|has nothing|has not reached the cube}",
                "the {red|} {cube|block} {lies|rests} {away from|far from} the {gripper|hand}",
                "{nothing|no cube|no block} is in the {gripper|hand}",
            ),
            (
                "the robot is empty, the block rests on the table",
                "the gripper has no cube",
                "a red cube lies on the table, far from the hand",
            ),
        ),
        Scene(
            "around",
            _around,
            (
                "the {gripper|hand|robot} is {around|at|over} the {red|} {cube|block}",
                "the {gripper|hand} {is about to grasp|will grasp|grasps} the {cube|block}",
                "the fingers are {around|beside} the {red|} {cube|block} on the table",
            ),
        ),
    ),
    positive="held",
    negative="on_the_table",
    view="front",
)
"""Lifting a cube (``mujoco/Lift``)."""

CAPTION_SETS = {captions.name: captions for captions in (DRIVING, LIFTING)}
"""Name to caption set."""


def caption_set(name: str) -> CaptionSet:
    """The caption set called ``name``.

    Raises:
        RoboError: there is none.
    """
    if name not in CAPTION_SETS:
        raise RoboError(f"there are no captions {name!r}; expected one of {list(CAPTION_SETS)}")
    return CAPTION_SETS[name]
