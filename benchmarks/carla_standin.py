"""The stand-in CARLA server through the unmodified CARLA client, against a bare msgpack echo.

Each run has a fresh server and a fresh client process on loopback, in synchronous mode with steps
of 0.05 s on the built-in town Grid; after each tick the client reads every vehicle's transform.
With cameras it also waits for every camera's picture of that tick. Where the TrafficManager
drives, most cars must have come on, or the run fails. The echo answers the same request
(`tick_cue`) from a client in Python and does nothing else; the stand-in is asked by CARLA's client,
which is C++. So the echo is a scale to read the figures by, no upper bound of them. The environment
row is `robo.make("carla-standin/Grid")` with the bird's-eye view of the `smoke` preset (64 x 64)
and 20 cars; the bird's-eye row is CaRL's raster alone (256 x 256, 2 px/m), without any server, with
20 cars close by. Figures are medians over runs, spreads their extremes; run it on an idle machine.

    python benchmarks/carla_standin.py
"""

from __future__ import annotations

import multiprocessing
import queue
import selectors
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

TOWN = "Grid"
STEP = 0.05
WARM_UP = 0.2
HOST = "127.0.0.1"
TM_PORTS = (18000, 28000)
ATTEMPTS = 8
PATIENCE = 40.0
"""Seconds that one measurement may take; it takes ten on a slow machine."""
CARS = 20
"""Cars of the environment and of the bird's-eye row."""
COME_ON = 5.0
"""Metres from its place after which a car counts as driven by the TrafficManager."""
RESULT = Path(__file__).parent / "results" / "carla_standin.json"


@dataclass(frozen=True)
class Options:
    """Measure the stand-in server through the real client."""

    repeats: int = 5
    """Runs of each row, each with a fresh server and client."""
    ticks: int = 2000
    """Ticks per run; rows with cameras or the TrafficManager take a quarter."""
    only: str = ""
    """Measure only rows whose name contains this; the result with all rows stays then."""
    out: Path | None = RESULT
    """JSON of the result; None writes none."""


@dataclass(frozen=True)
class Row:
    """One case."""

    name: str
    """What it is."""
    target: float
    """Ticks per second wanted at least; of the bird's-eye row, milliseconds at most."""
    vehicles: int = 1
    """Cars."""
    control: bool = False
    """Whether each gets a control at each tick."""
    cameras: int = 0
    """RGB cameras of 256 x 256 on the first car."""
    traffic_manager: bool = False
    """Whether the client's TrafficManager drives the cars."""
    environment: bool = False
    """Steps of the gymnasium environment in place of ticks."""
    birdseye: bool = False
    """Frames of the bird's-eye raster in place of ticks."""
    share: float = 1.0
    """Share of the ticks."""


ROWS = (
    Row("1 vehicle", 2500),
    Row("30 vehicles, control at each tick", 1200, vehicles=30, control=True),
    Row("1 vehicle, 1 RGB camera 256 x 256", 800, cameras=1, share=0.25),
    Row("1 vehicle, 3 RGB cameras 256 x 256", 300, cameras=3, share=0.25),
    Row("TrafficManager, 30 cars", 400, vehicles=30, traffic_manager=True, share=0.25),
    Row("environment, birdseye 64 x 64, 20 cars", 400, environment=True, share=0.25),
    Row("bird's-eye view 256 x 256 at 2 px/m, 20 cars", 1.5, birdseye=True, share=0.25),
)


@dataclass(frozen=True)
class Measured:
    """What one run found."""

    rate: float
    """Ticks, steps or frames per second."""
    come_on: float | None = None
    """Share of the TrafficManager's cars that drove; None without it."""


def measure(row: Row, ticks: int) -> Measured:
    """One run, in the process of the caller."""
    count = int(row.share * ticks)
    if row.environment:
        return Measured(environment(count))
    if row.birdseye:
        return Measured(birdseye(count))
    from robo.sim.carla.standin.process import start_process

    with start_process(TOWN) as server:
        return client(row, server.port, count)


def client(row: Row, port: int, count: int) -> Measured:
    """Ticks of the real client."""
    import carla

    connection: Any = carla.Client(HOST, port, worker_threads=4)
    connection.set_timeout(20.0)
    world = connection.get_world()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, STEP
    world.apply_settings(settings)
    library, places = world.get_blueprint_library(), world.get_map().get_spawn_points()
    stride = max(len(places) // row.vehicles, 1)
    vehicles = [
        world.spawn_actor(library.find("vehicle.tesla.model3"), places[number * stride])
        for number in range(row.vehicles)
    ]
    pictures, cameras = _cameras(world, library, vehicles[0], row.cameras)
    manager = _traffic_manager(connection, vehicles) if row.traffic_manager else None
    control = carla.VehicleControl(throttle=0.3)

    def run(ticks: int) -> None:
        for _ in range(ticks):
            if row.control:
                for vehicle in vehicles:
                    vehicle.apply_control(control)
            frame = world.tick()
            for vehicle in vehicles:
                vehicle.get_transform()
            for arrived in pictures:
                while arrived.get(timeout=20.0) < frame:
                    pass

    started = [vehicle.get_location() for vehicle in vehicles]
    run(max(int(WARM_UP * count), 10))
    began = time.perf_counter()
    run(count)
    rate = count / (time.perf_counter() - began)
    for camera in cameras:
        camera.stop()
        camera.destroy()
    if manager is None:
        return Measured(rate)
    ended = [vehicle.get_location() for vehicle in vehicles]
    driven = [at.distance(place) >= COME_ON for at, place in zip(ended, started, strict=True)]
    manager.shut_down()
    return Measured(rate, sum(driven) / len(driven))


def _cameras(
    world: Any, library: Any, vehicle: Any, count: int
) -> tuple[list[queue.SimpleQueue[int]], list[Any]]:
    """Queues of the frames that arrived, and the cameras."""
    import carla

    blueprint = library.find("sensor.camera.rgb")
    for name, text in (("image_size_x", "256"), ("image_size_y", "256")):
        blueprint.set_attribute(name, text)
    queues, cameras = [], []
    for number in range(count):
        pose = carla.Transform(carla.Location(x=1.3, z=1.6), carla.Rotation(yaw=90.0 * number))
        camera: Any = world.spawn_actor(blueprint, pose, attach_to=vehicle)
        arrived: queue.SimpleQueue[int] = queue.SimpleQueue()
        camera.listen(lambda image, arrived=arrived: arrived.put(image.frame))
        queues.append(arrived)
        cameras.append(camera)
    # Listening begins in the background: go on once every camera has sent a picture.
    for arrived in queues:
        while arrived.empty():
            world.tick()
            time.sleep(0.01)
    return queues, cameras


def _traffic_manager(connection: Any, vehicles: list[Any]) -> Any:
    """The client's TrafficManager, driving every vehicle."""
    # It offers no choice of a free port, and does not say whether one is taken.
    for port in range(*TM_PORTS):
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)):
                break
    manager = connection.get_trafficmanager(port)
    manager.set_synchronous_mode(True)
    manager.set_random_device_seed(0)
    for vehicle in vehicles:
        vehicle.set_autopilot(True, port)
    return manager


def environment(count: int) -> float:
    """Steps per second of one driving environment, resets included."""
    import robo
    from robo.policies.presets import CARL_SMOKE

    options: dict[str, Any] = {**CARL_SMOKE.options, "vehicles": CARS}
    env: Any = robo.make(f"carla-standin/{TOWN}", **options)
    try:
        env.reset(seed=0)
        action = env.action_space.sample() * 0.0

        def run(steps: int) -> None:
            for _ in range(steps):
                action[:] = 0.0, 0.3
                _, _, terminated, truncated, _ = env.step(action)
                if terminated or truncated:
                    env.reset()

        run(max(int(WARM_UP * count), 10))
        began = time.perf_counter()
        run(count)
        return count / (time.perf_counter() - began)
    finally:
        env.close()


def birdseye(count: int) -> float:
    """Frames per second of CaRL's raster, a crowded place after the other; drawing alone counts."""
    import carla
    from _birdseye_scenes import Scenes

    from robo.sim.carla.birdseye import BirdseyeRenderer
    from robo.sim.carla.standin.towns import town

    city = carla.Map(TOWN, town(TOWN))
    renderer, scenes, spent = BirdseyeRenderer(city), Scenes(city, CARS), 0.0
    warm_up = max(int(WARM_UP * count), 10)
    for number in range(warm_up + count):
        state, route = scenes.scene(number)
        began = time.perf_counter()
        renderer.render(state, route, 0)
        if number >= warm_up:
            spent += time.perf_counter() - began
    return count / spent


@contextmanager
def echo_server() -> Iterator[int]:
    """A process that answers each request, and nothing else; yields its port."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_echo, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _echo(pipe: Any) -> None:
    """Serve one connection."""
    import msgpack

    listener = socket.create_server((HOST, 0))
    pipe.send(listener.getsockname()[1])
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setblocking(False)
    selector, unpacker = selectors.DefaultSelector(), msgpack.Unpacker()
    selector.register(connection, selectors.EVENT_READ)
    while selector.select():
        data = connection.recv(1 << 16)
        if not data:
            return
        unpacker.feed(data)
        for _, id, _, _ in unpacker:
            connection.send(msgpack.packb([1, id, None, [[1, id]]]) or b"")


def echo(count: int) -> float:
    """Round trips per second of a client in Python."""
    import msgpack

    with echo_server() as port, socket.create_connection((HOST, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        unpacker = msgpack.Unpacker()

        def run(requests: int) -> None:
            for id in range(requests):
                connection.sendall(msgpack.packb([0, id, "tick_cue", [[False]]]) or b"")
                unpacker.feed(connection.recv(1 << 16))
                next(unpacker)

        run(max(int(WARM_UP * count), 10))
        began = time.perf_counter()
        run(count)
        return count / (time.perf_counter() - began)


def in_process_of_its_own(function: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
    """The function's result, and how many processes died or hung before.

    The client leaves threads behind, and dies of some errors. Its TrafficManager waits without
    end now and then: it looks whether there is a step to take, and misses the notice that comes
    between that look and its wait.
    """
    context = multiprocessing.get_context("spawn")
    for lost in range(ATTEMPTS):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_answer, args=(theirs, function, arguments))
        process.start()
        theirs.close()
        try:
            if ours.poll(PATIENCE):
                return ours.recv(), lost
        except EOFError:
            pass  # It died.
        finally:
            process.kill()
            process.join()
    raise SystemExit(f"{arguments}: {ATTEMPTS} processes in turn died or hung")


def _answer(pipe: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Run in the child."""
    pipe.send(function(*arguments))


def main(options: Options) -> None:
    """Interleave the rows, print and write the JSON."""
    from _study import machine, one_thread, publish

    one_thread()
    rows = [row for row in ROWS if options.only in row.name]
    rates: dict[str, list[float]] = {row.name: [] for row in rows}
    lost = dict.fromkeys(rates, 0)
    echoes = []
    for _ in range(options.repeats):
        echoes.append(in_process_of_its_own(echo, options.ticks)[0])
        for row in rows:
            found, failures = in_process_of_its_own(measure, row, options.ticks)
            check(row, found)
            rates[row.name].append(found.rate)
            lost[row.name] += failures
            print(f"{row.name}: {found.rate:.0f}", flush=True)
    limit = statistics.median(echoes)
    result = {
        "benchmark": "carla_standin",
        "unit": "ticks (environment row: steps) per wall second, median; rows with a unit: that",
        "town": TOWN,
        "rows": [
            {**_row(row, rates[row.name], limit), "clients_lost": lost[row.name]} for row in rows
        ],
        "spread_echo": [round(min(echoes)), round(max(echoes))],
        "repeats": options.repeats,
        "ticks": options.ticks,
        "machine": machine(),
    }
    partial = bool(options.only) and options.out == RESULT
    publish(result, None if partial else options.out)


def check(row: Row, found: Measured) -> None:
    """End the benchmark where a rate means nothing, since hardly any car drove."""
    if found.come_on is not None and found.come_on <= 0.5:
        raise SystemExit(
            f"{row.name}: {found.come_on:.0%} of the cars came {COME_ON:g} m far, expected more "
            "than half; give more --ticks, or see why the TrafficManager does not drive them"
        )


def _row(row: Row, rates: list[float], limit: float) -> dict[str, Any]:
    """A row of the result."""
    ours = statistics.median(rates)
    if row.birdseye:
        return {
            "name": row.name,
            "unit": "ms per frame, median",
            "ours": round(1000 / ours, 3),
            "target": row.target,
            "met": 1000 / ours <= row.target,
            "peers": {},
            "ratio_to_best": None,
            "spread_ours": [round(1000 / max(rates), 3), round(1000 / min(rates), 3)],
        }
    return {
        "name": row.name,
        "ours": round(ours),
        "target": row.target,
        "met": ours >= row.target,
        "peers": {"bare msgpack echo": round(limit)},
        "ratio_to_best": round(ours / limit, 3),
        "spread_ours": [round(min(rates)), round(max(rates))],
    }


if __name__ == "__main__":
    main(tyro.cli(Options))
