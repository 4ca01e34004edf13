"""RPC names to functions, and one request to its packed answer."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from robo.errors import RoboError
from robo.sim.carla.standin import layouts
from robo.sim.carla.standin.rpc import PACKED_VOID, pack_result
from robo.sim.carla.standin.service import Service

Function = Callable[..., Any]


@dataclass(frozen=True)
class Handler:
    """How one RPC is served."""

    function: Function
    """From the service and the arguments to the content of the answer."""
    answer: str
    """``value``: the function's result; ``void``: none; ``raw``: the result as it stands."""


HANDLERS: dict[str, Handler] = {}
"""Every RPC that is served, by name."""

VOID_NAMES = frozenset(
    (
        "load_map_layer",
        "unload_map_layer",
        "apply_color_texture_to_objects",
        "apply_float_color_texture_to_objects",
        "apply_textures_to_objects",
        "enable_environment_objects",
    )
)
"""RPCs not served whose answer carries no value: their errors have another layout."""

_MODULES = (
    "handlers_world",
    "handlers_actors",
    "handlers_vehicles",
    "handlers_lights",
    "handlers_batch",
)


def serves(name: str, answer: str = "value") -> Callable[[Function], Function]:
    """Decorator: serve the RPC ``name``; see :class:`Handler` for ``answer``."""

    def register(function: Function) -> Function:
        HANDLERS[name] = Handler(function, answer)
        return function

    return register


def load_handlers() -> None:
    """Import every module of handlers."""
    for module in _MODULES:
        importlib.import_module(f"robo.sim.carla.standin.{module}")


class Dispatcher:
    """Answers requests on a service; nothing that a client sends makes it raise."""

    def __init__(self, service: Service) -> None:
        """Serve ``service``."""
        load_handlers()
        self._service = service

    def __call__(self, name: str, arguments: list[Any]) -> bytes:
        """Packed result of a call."""
        handler = HANDLERS.get(name)
        if handler is None:
            return self._fail(name, f"the stand-in server does not offer {name!r}")
        try:
            content = handler.function(self._service, *arguments)
            if handler.answer == "void":
                return PACKED_VOID
            if type(content) is bytes:
                return content
            return pack_result(content if handler.answer == "raw" else layouts.value(content))
        except RoboError as error:
            return self._fail(name, str(error))
        except (
            TypeError,
            ValueError,
            KeyError,
            IndexError,
            AttributeError,
            OverflowError,
        ) as error:
            # Mostly arguments of a wrong shape; should it be a fault of ours, here is where.
            traceback.print_exc(file=sys.stderr)
            return self._fail(name, f"{name}: malformed request ({type(error).__name__}: {error})")

    @staticmethod
    def _fail(name: str, text: str) -> bytes:
        """Packed error in the layout that ``name``'s answer has."""
        handler = HANDLERS.get(name)
        if handler and handler.answer == "raw":
            return pack_result([layouts.error(text)])
        void = handler.answer == "void" if handler else name in VOID_NAMES
        return pack_result(layouts.void_error(text) if void else layouts.error(text))
