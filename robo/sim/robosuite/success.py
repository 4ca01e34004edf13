"""What counts as success, and where robosuite's ``_check_success`` is wrong.

Read and tried in robosuite 1.4.0 (1.5.2 has the same rules):

* Lift: the cube's centre 4 cm above the table. A cube that is thrown up, or squeezed out and
  flies, succeeds without being held. (A tilted one does not: on a corner its centre is at 38 mm.)
* Stack: the red cube higher than 4 cm, touching the green one and not held by both fingers. A
  cube that leans on the green one, is pressed against its side by one finger, or is touching it
  on its way down, succeeds; it need not be on top.
* PickPlace: the object's centre in its bin's column up to 10 cm above the floor, and the gripper
  4.2 cm away from that centre. Tall objects (cereal, milk) are held by their top further away
  than that: they succeed while held, before they are let go.
* NutAssembly: the nut's body within 3 cm of the peg's axis and lower than 5 cm, the gripper
  4.2 cm away. The nut is gripped by its handle, further from the hole than that: it succeeds while
  held half way down the peg.
* Door: the hinge beyond 0.3 rad. Right (one may push it open with anything, though).
* Wipe: all dirt wiped. Dirt counts as wiped when the tool passes less than 2 cm above it while
  anything touches anything: contact with the table is not asked for. Not mended by ``strict``: the
  rule sits in the reward that keeps the list of what is wiped.

``strict`` asks on top of robosuite's rule that Lift's cube is touched by the gripper, and that in
the others no part of the gripper touches the object, with Stack's cube on top of the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Success = Callable[[Any], bool]


def robosuite_success(raw: Any) -> bool:
    """The rule of robosuite itself."""
    return bool(raw._check_success())


def strict_success(family: str) -> Success:
    """The rule of a task family without the wrong cases above.

    Args:
        family: ``Lift``, ``Stack``, ``PickPlace``, ``NutAssembly``, ``Door`` or ``Wipe``.
    """
    return _STRICT.get(family, robosuite_success)


def _touches_gripper(raw: Any, thing: Any) -> bool:
    """Whether any part of the gripper touches ``thing`` (a model of robosuite)."""
    own = raw.robots[0].gripper
    grippers = own.values() if isinstance(own, dict) else [own]
    return any(raw.check_contact(gripper, thing) for gripper in grippers)


def _lift(raw: Any) -> bool:
    return robosuite_success(raw) and _touches_gripper(raw, raw.cube)


def _stack(raw: Any) -> bool:
    if not robosuite_success(raw) or _touches_gripper(raw, raw.cubeA):
        return False
    upper, lower = (
        np.array(raw.sim.data.body_xpos[body]) for body in (raw.cubeA_body_id, raw.cubeB_body_id)
    )
    half = np.array(raw.cubeB.size)
    resting = abs(upper[2] - lower[2] - half[2] - raw.cubeA.size[2]) < 0.005
    supported = bool((np.abs(upper[:2] - lower[:2]) < half[:2]).all())
    return bool(resting and supported)


def _placed(raw: Any, things: list[Any], done: Any) -> bool:
    """The rule of robosuite, with every object that it counts let go."""
    if not robosuite_success(raw):
        return False
    return not any(
        _touches_gripper(raw, thing) for thing, counted in zip(things, done, strict=True) if counted
    )


_STRICT: dict[str, Success] = {
    "Lift": _lift,
    "Stack": _stack,
    "PickPlace": lambda raw: _placed(raw, raw.objects, raw.objects_in_bins),
    "NutAssembly": lambda raw: _placed(raw, raw.nuts, raw.objects_on_pegs),
}
