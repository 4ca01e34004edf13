"""Sentences for servers that cannot be driven in."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

pytest.importorskip("carla")

import carla

import robo
from robo.errors import RoboError
from robo.sim.carla.supervisor import ServerProcess

OLD = (
    "import sys; from robo.sim.carla.standin import layouts; layouts.VERSION = '0.9.14'; "
    "from robo.sim.carla.standin.entry import serve; serve('Grid', port=int(sys.argv[1]))"
)
SHORT_ROAD = """<?xml version="1.0"?>
<OpenDRIVE><header revMajor="1" revMinor="4" name="short"/>
<road name="" length="1.0" id="0" junction="-1"><link/>
<planView><geometry s="0" x="0" y="0" hdg="0" length="1.0"><line/></geometry></planView>
<lanes><laneSection s="0"><center><lane id="0" type="none"/></center>
<right><lane id="-1" type="driving"><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane></right>
</laneSection></lanes></road></OpenDRIVE>"""


def test_nobody_listens():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = robo.make("carla-standin/Grid", port=port, start_timeout=0.2)
    with pytest.raises(RoboError, match=f"no CARLA server listens on 127.0.0.1:{port}"):
        environment.reset(seed=0)
    environment.close()


def test_another_version_of_server_or_client(monkeypatch):
    server = ServerProcess(lambda port: [sys.executable, "-c", OLD, str(port)])
    try:
        server.wait(30.0)
        environment = robo.make("carla-standin/Grid", port=server.port)
        with pytest.raises(RoboError, match=r"server at .* is 0.9.14, expected 0.9.16") as error:
            environment.reset(seed=0)
        assert "\n" not in str(error.value)
        monkeypatch.setattr(carla.Client, "get_client_version", lambda client: "0.9.15-dirty")
        with pytest.raises(RoboError, match=r"client at .* is 0.9.15-dirty, expected") as error:
            environment.reset(seed=0)
        assert str(error.value).endswith("run `pip install carla==0.9.16`")
        environment.close()
    finally:
        server.stop()


def test_a_map_without_spawn_points(tmp_path):
    file = tmp_path / "Short.xodr"
    file.write_text(SHORT_ROAD)
    environment = robo.make("carla-standin/Grid", opendrive=str(file), start_timeout=30.0)
    assert environment.task == "carla-standin/Short"
    with pytest.raises(RoboError, match=r"no spawn points|no driving lanes"):
        environment.reset(seed=0)
    environment.close()


def test_town01_where_it_is_at_hand():
    map = Path(__file__).parents[4] / "shared" / "maps" / "Town01.xodr"
    if not map.is_file():
        pytest.skip("Town01.xodr is not here")
    environment = robo.make(
        "carla-standin/Grid",
        opendrive=str(map),
        vehicles=3,
        pedestrians=2,
        birdseye_size=32,
        pixels_per_metre=0.25,
    )
    try:
        assert environment.task == "carla-standin/Town01"
        environment.reset(seed=0)
        assert environment.step(environment.action_space.sample())[0]["birdseye"].any()
    finally:
        environment.close()
