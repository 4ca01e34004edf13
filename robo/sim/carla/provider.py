"""What the registry asks of ``carla/...`` and ``carla-standin/...``."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

from robo.errors import RoboError, UnknownTaskError
from robo.sim.carla.options import DrivingOptions, ServerOptions, split_options
from robo.sim.contract import Environment, VectorEnvironment

if importlib.util.find_spec("carla") is None:
    # The registry turns this into a sentence; importing carla itself takes 0.1 s.
    raise ModuleNotFoundError("No module named 'carla'", name="carla")

TOWNS = ("Town01", "Town02", "Town03", "Town04", "Town05", "Town06", "Town07", "Town10HD")
"""Maps that a packaged CARLA 0.9.16 holds."""
STANDIN_TOWNS = ("Grid", "Junctions", "Multilane")
"""Our own towns, served by the stand-in."""
ALL = "carla-standin/All"
"""A vector whose environment i drives town i mod 3; alone, the town of its ``index``."""
WORKERS_PER_CORE = 2
"""Worker processes that make one core busy."""


def task_ids() -> list[str]:
    """``carla/Town01`` ..., ``carla-standin/Grid`` ..., ``carla-standin/All``."""
    standin = [f"carla-standin/{town}" for town in STANDIN_TOWNS]
    return [*(f"carla/{town}" for town in TOWNS), *standin, ALL]


def make(id: str, *, index: int = 0, **options: Any) -> Environment:
    """One environment.

    Args:
        id: see :func:`task_ids`.
        index: which town ``carla-standin/All`` takes.
        options: of :class:`ServerOptions` and :class:`DrivingOptions`.

    Raises:
        RoboError: an option that does not exist, or options that do not go together.
    """
    if id not in task_ids():
        raise UnknownTaskError(f"task {id!r} does not exist; expected one of {task_ids()}")
    if id == ALL:
        id = f"carla-standin/{STANDIN_TOWNS[index % len(STANDIN_TOWNS)]}"
    server, driving = split_options(id, options)
    town = id.split("/")[1]
    if id.startswith("carla/"):
        return _real(id, town, server, driving)
    return _standin(id, town, server, driving)


def _real(id: str, town: str, server: ServerOptions, driving: DrivingOptions) -> Environment:
    from robo.sim.carla.environment import DrivingEnvironment
    from robo.sim.carla.supervisor import Supervisor, carla_command

    if server.opendrive is not None:
        raise RoboError(f"{id} has no option opendrive; only carla-standin/... serves .xodr files")
    if driving.vehicles and not server.traffic_manager:
        raise RoboError(
            f"{id} asks for {driving.vehicles} vehicles, which only the TrafficManager drives on a "
            "CARLA server; add traffic_manager=True, or vehicles=0 (on a command line "
            "--options traffic_manager True)"
        )
    supervisor = None
    if server.port is None:
        if server.carla_root is None:
            raise RoboError(
                f"{id} needs a CARLA 0.9.16 server: give carla_root to start one, or host and port "
                "of one that runs; carla-standin/Grid needs none"
            )
        command = carla_command(server.carla_root, server.rendering)
        supervisor = Supervisor(command, server.start_timeout, server.episodes_per_server)
    return DrivingEnvironment(id, town, supervisor, server, driving, standin=False)


def _standin(id: str, town: str, server: ServerOptions, driving: DrivingOptions) -> Environment:
    from robo.sim.carla.environment import DrivingEnvironment
    from robo.sim.carla.supervisor import Supervisor, standin_command

    if server.carla_root is not None:
        raise RoboError(f"{id} has no option carla_root; ask for carla/Town01 to drive in CARLA")
    served, wanted = town, town
    if server.opendrive is not None:
        if not Path(server.opendrive).is_file():
            raise RoboError(f"opendrive {server.opendrive!r} is no file; give the path of an .xodr")
        served = str(Path(server.opendrive).resolve())
        wanted = Path(server.opendrive).stem
        id = f"carla-standin/{wanted}"
    if server.port is not None:
        return DrivingEnvironment(id, wanted, None, server, driving)
    command = standin_command(served)
    supervisor = Supervisor(command, server.start_timeout, server.episodes_per_server)
    return DrivingEnvironment(id, wanted, supervisor, server, driving)


def make_vec(
    id: str, num_envs: int, backend: str = "auto", **options: Any
) -> VectorEnvironment | None:
    """Environments stepped together, by default in two worker processes per core.

    Args:
        id: see :func:`task_ids`; ``carla-standin/All`` gives environment i town i mod 3.
        num_envs: N.
        backend: ``auto`` takes ``workers``; ``native`` does not exist.
        options: as :func:`make`; ``port`` is the first environment's, the next ones' servers are
            expected ``port_step`` (10) further each, and those of another vector beside it behind
            them; ``num_workers`` sets the processes. With
            ``traffic_manager`` each environment has a process of its own: the client ticks all
            TrafficManagers of a process with every world in it.

    Raises:
        RoboError: as :func:`make`, or several TrafficManagers in one process.
    """
    from robo.sim import selection
    from robo.sim.in_process import available_cores
    from robo.sim.workers import WorkerVectorEnvironment

    if backend == "native":
        return None
    step = options.pop("port_step", 10)
    managed = bool(options.get("traffic_manager")) and num_envs > 1
    default = num_envs if managed else WORKERS_PER_CORE * available_cores()
    workers = options.pop("num_workers", default)
    if managed and (backend not in ("auto", "workers") or workers < num_envs):
        raise RoboError(
            f"{id} with traffic_manager=True cannot run {num_envs} environments by backend "
            f"{backend!r} in fewer than {num_envs} processes: TrafficManagers in one process move "
            f"each other's traffic; use backend='workers' and num_workers={num_envs} or none"
        )
    port = options.get("port")
    factories = []
    for index in range(num_envs):
        own = dict(options)
        if port is not None:
            own |= {"port": port + index * step, "port_block": num_envs * step}
        if id == ALL:
            own["index"] = index
        factories.append(partial(make, id, **own))
    if backend in ("auto", "workers"):
        # A client waits for its server in every step: with more processes than cores, others use
        # the core meanwhile.
        environment = WorkerVectorEnvironment(factories, num_workers=workers)
    else:
        environment = selection.BACKENDS[backend](factories)
    environment.task = id if options.get("opendrive") is None else environment.task
    return environment
