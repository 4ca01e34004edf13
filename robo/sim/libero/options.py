"""Options of LIBERO's environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from robo.errors import RoboError
from robo.sim.robosuite.options import ViewOptions

Wording = Literal["auto", "benchmark", "problem"]
Objects = Literal["all", "interest"]


@dataclass(frozen=True)
class LiberoOptions(ViewOptions):
    """What a ``libero/<suite>/<task>`` environment can be asked for."""

    horizon: int | None = None
    """Time limit in control steps; by default the suite's (see :mod:`robo.sim.libero.suites`)."""
    initial_states: tuple[int, ...] = ()
    """Initial states that seeds choose from, ``range(25)`` to train on the first half; all when
    empty. Any other can still be asked of ``reset``. On command lines ``0-24``, or ``3,7-9``."""
    settle_steps: int = 5
    """Control steps without motion after an initial state is set, as in LIBERO's evaluation;
    published evaluations of large models take 10. They do not count towards the horizon."""
    wording: Wording = "auto"
    """Which of the two wordings is the instruction: that of the ``benchmark``, that of the
    ``problem`` file, or by ``auto`` the one that is right for the suite."""
    objects: Objects = "all"
    """Whose poses ``state`` holds beside the robot's: ``all`` things' in the scene, or those that
    the problem file names as of ``interest``; a policy cloned from few demonstrations reads chance
    into the others."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        super().__post_init__()
        object.__setattr__(self, "initial_states", _indices(self.initial_states))
        if self.wording not in get_args(Wording):
            raise RoboError(
                f"unknown wording {self.wording!r}; expected one of {get_args(Wording)}"
            )
        if self.objects not in get_args(Objects):
            raise RoboError(
                f"unknown objects {self.objects!r}; expected one of {get_args(Objects)}"
            )
        if self.settle_steps < 0 or (self.horizon is not None and self.horizon < 1):
            raise RoboError(
                f"settle_steps {self.settle_steps} must be at least 0 and horizon {self.horizon} "
                "at least 1"
            )


def _indices(states: Any) -> tuple[int, ...]:
    """Initial states of a sequence, one number, or text such as ``0-24`` or ``3,7-9``.

    Raises:
        RoboError: anything else.
    """
    found: list[int] = []
    try:
        if not isinstance(states, str):
            return tuple(int(i) for i in ((states,) if isinstance(states, int) else states))
        for part in states.split(","):
            first, _, last = part.partition("-")
            span = range(int(first), int(last or first) + 1)
            if not span:
                raise ValueError(f"{part} runs backwards")
            found += span
        return tuple(found)
    except (TypeError, ValueError) as error:
        raise RoboError(
            f"initial_states is {states!r}, expected indices such as range(25), 0-24 or 3,7-9"
        ) from error
