"""RPCs about the world: episode, settings, ticks, maps, weather, TrafficManagers."""

from __future__ import annotations

import math
from typing import Any

from robo.sim.carla.standin import layouts
from robo.sim.carla.standin.errors import StandinError
from robo.sim.carla.standin.handlers import serves
from robo.sim.carla.standin.maps import PREFIX
from robo.sim.carla.standin.rpc import pack_result
from robo.sim.carla.standin.service import WORLD_STREAM, Service

FIELDS = len(layouts.EpisodeSettings._fields)
LONGEST_STEP = 1.0


@serves("version")
def version(service: Service) -> str:
    """Release of CARLA whose protocol this is."""
    return layouts.VERSION


@serves("get_episode_info")
def get_episode_info(service: Service) -> list[Any]:
    """Episode id and where to fetch the world's state."""
    service.settle()
    return layouts.episode_info(service.episode, service.token(WORLD_STREAM))


@serves("get_sensor_token")
def get_sensor_token(service: Service, stream: int) -> list[bytes]:
    """Where to fetch a stream."""
    return layouts.token(service.token(stream))


@serves("get_episode_settings")
def get_episode_settings(service: Service) -> list[Any]:
    """Current settings."""
    return service.world.settings.message()


@serves("set_episode_settings")
def set_episode_settings(service: Service, message: list[Any]) -> int:
    """Take settings; returns the frame that carries them."""
    if len(message) != FIELDS:
        raise StandinError(f"settings have {len(message)} fields, expected {FIELDS}")
    settings = layouts.EpisodeSettings.parse(message)
    step = settings.fixed_delta_seconds
    if step is not None and not 0 < step <= LONGEST_STEP:
        raise StandinError(f"fixed_delta_seconds is {step}, expected 0 to {LONGEST_STEP} s")
    return service.set_settings(settings)


@serves("tick_cue")
def tick_cue(service: Service) -> int:
    """One step; in asynchronous mode the frame of the step that the server makes next."""
    if service.world.settings.synchronous_mode:
        return service.tick()
    return service.world.frame + 1


@serves("get_map_info")
def get_map_info(service: Service) -> bytes:
    """Name and spawn points."""
    if "map_info" not in service.answers:
        info = layouts.map_info(PREFIX + service.name, service.world.spawn_points)
        service.answers["map_info"] = pack_result(layouts.value(info))
    return service.answers["map_info"]


@serves("get_map_data")
def get_map_data(service: Service) -> bytes:
    """OpenDRIVE text."""
    if "map_data" not in service.answers:
        service.answers["map_data"] = pack_result(layouts.value(service.world.opendrive))
    return service.answers["map_data"]


@serves("get_available_maps")
def get_available_maps(service: Service) -> list[str]:
    """Maps that can be loaded."""
    return service.maps.names()


@serves("get_required_files")
def get_required_files(service: Service, folder: str = "", download: bool = True) -> list[str]:
    """No files: the client reads the map by RPC and then caches nothing on disk."""
    return []


@serves("get_navigation_mesh")
def get_navigation_mesh(service: Service) -> bytes:
    """An empty mesh: pedestrians are driven by the server or by WalkerControl."""
    return pack_result(layouts.value(b""))


@serves("load_new_episode", "void")
def load_new_episode(
    service: Service, name: str, reset_settings: bool = True, layers: int = 0
) -> None:
    """Start afresh on a map, '' for the current one."""
    service.load(name, reset_settings)


@serves("copy_opendrive_to_file", "void")
def copy_opendrive_to_file(service: Service, opendrive: str, parameters: list[Any]) -> None:
    """Keep a map that a client sent; it loads it by name next."""
    if "<OpenDRIVE" not in opendrive:
        raise StandinError("the text sent is no OpenDRIVE: it holds no <OpenDRIVE> element")
    service.maps.send(opendrive)


@serves("get_weather_parameters")
def get_weather_parameters(service: Service) -> list[float]:
    """The 14 numbers of the weather."""
    return list(service.world.weather)


@serves("set_weather_parameters", "void")
def set_weather_parameters(service: Service, weather: list[float]) -> None:
    """Set the weather; it changes no physics here."""
    expected = len(layouts.WEATHER_FIELDS)
    if len(weather) != expected or not all(math.isfinite(number) for number in weather):
        raise StandinError(f"weather is {weather}, expected {expected} finite numbers")
    service.world.weather = [float(number) for number in weather]


@serves("draw_debug_shape", "void")
def draw_debug_shape(service: Service, shape: list[Any]) -> None:
    """Accepted, and drawn nowhere: cameras see the map and the actors only."""


@serves("is_traffic_manager_running")
def is_traffic_manager_running(service: Service, port: int) -> bool:
    """Whether a client runs a TrafficManager for this port."""
    return port in service.traffic_managers


@serves("get_traffic_manager_running")
def get_traffic_manager_running(service: Service, port: int) -> list[Any]:
    """Address of the TrafficManager for this port."""
    return list(service.traffic_managers.get(port, ("", 0)))


@serves("add_traffic_manager_running")
def add_traffic_manager_running(service: Service, address: list[Any]) -> bool:
    """Enter a client's TrafficManager; False where one has the port."""
    host, port = address
    if port in service.traffic_managers:
        return False
    service.traffic_managers[port] = (host, port)
    return True


@serves("destroy_traffic_manager")
def destroy_traffic_manager(service: Service, port: int) -> bool:
    """Strike a client's TrafficManager off."""
    return service.traffic_managers.pop(port, None) is not None


@serves("get_environment_objects")
def get_environment_objects(service: Service, kind: int) -> list[Any]:
    """None: the town is roads only."""
    return []


@serves("get_all_level_BBs")
def get_all_level_boxes(service: Service, kind: int) -> list[Any]:
    """None: the town is roads only."""
    return []


@serves("get_names_of_all_objects")
def get_names_of_all_objects(service: Service) -> list[str]:
    """None: the town is roads only."""
    return []
