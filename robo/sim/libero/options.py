"""Options of LIBERO's environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from robo.errors import RoboError
from robo.sim.robosuite.options import ViewOptions

Wording = Literal["auto", "benchmark", "problem"]


@dataclass(frozen=True)
class LiberoOptions(ViewOptions):
    """What a ``libero/<suite>/<task>`` environment can be asked for."""

    horizon: int | None = None
    """Time limit in control steps; by default the suite's (see :mod:`robo.sim.libero.suites`)."""
    initial_states: tuple[int, ...] = ()
    """Initial states that seeds choose from, ``range(25)`` to train on the first half; all when
    empty. Any other can still be asked of ``reset``."""
    settle_steps: int = 5
    """Control steps without motion after an initial state is set, as in LIBERO's evaluation;
    published evaluations of large models take 10. They do not count towards the horizon."""
    wording: Wording = "auto"
    """Which of the two wordings is the instruction: that of the ``benchmark``, that of the
    ``problem`` file, or by ``auto`` the one that is right for the suite."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        super().__post_init__()
        object.__setattr__(self, "initial_states", tuple(int(i) for i in self.initial_states))
        if self.wording not in get_args(Wording):
            raise RoboError(
                f"unknown wording {self.wording!r}; expected one of {get_args(Wording)}"
            )
        if self.settle_steps < 0 or (self.horizon is not None and self.horizon < 1):
            raise RoboError(
                f"settle_steps {self.settle_steps} must be at least 0 and horizon {self.horizon} "
                "at least 1"
            )
