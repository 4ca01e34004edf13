"""Keys from keyboard and browser end up as judgements; a stop waits for nobody."""

from __future__ import annotations

import io
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from robo.robots.evaluation import evaluate_on_robot
from robo.robots.evaluation_config import EvaluationConfig, JudgingConfig
from robo.robots.ghost import mismatch, overlay
from robo.robots.keyboard import Keyboard
from robo.robots.live import LivePage
from robo.robots.live_state import LiveState
from robo.robots.loop import LoopConfig
from robo.robots.operators import Console, Judgement, Person, ScriptedOperator
from robo.robots.plan import Plan
from robo.robots.robot import Reading, RobotError, View
from robo.robots.safety import SafetyEvent
from robo.robots.simulated import SimulatedConfig


def request(url: str, data: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    asked = urllib.request.Request(url, data, {k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(asked, timeout=5) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.fixture
def page() -> Iterator[LivePage]:
    made = LivePage(LiveState(6), Console())
    yield made
    made.close()


def test_a_person_judges_with_keys() -> None:
    console, said = Console(), []
    answers = iter([[("s", ""), ("n", "cup was dirty"), ("g", "")], [("q", "")], [("g", "")]])

    def say(line: str) -> None:
        said.append(line)
        if "arrange" in line:
            for key, note in next(answers):
                console.press(key, note)

    person = Person(console, say)
    console.press("g")  # pressed once too often, before anybody asked
    assert person.ready(1)
    assert not person.ends()
    console.press("n", "slipped")
    console.press("P")
    assert person.ends()
    assert person.judge(1, None) == Judgement("partial", "operator", "cup was dirty slipped")
    assert not person.ready(2)
    assert person.ready(3)
    console.press("x")
    assert person.ends()
    assert person.judge(3, None) == Judgement("invalid", "operator", "")
    console.press("q")
    assert not person.restarts("force")
    assert not console.press("z") and len(said) == 4


def test_a_stop_is_called_by_the_thread_that_pressed() -> None:
    stopped = threading.Event()
    Console(on_stop=stopped.set).press("x")
    assert stopped.is_set()


def test_lines_from_a_pipe() -> None:
    console = Console()
    keyboard = Keyboard(console, io.StringIO("g\nf dropped the cup\nnonsense\nx\n"))
    keyboard.start()
    keyboard.close()
    names = []
    while (asked := console.next(0)) is not None:
        names.append((asked.name, asked.note))
    assert names == [("go", ""), ("failure", "dropped the cup"), ("stop", "")]


def test_scripts(tmp_path: Path) -> None:
    path = tmp_path / "script.jsonl"
    path.write_text('{"trial": 1, "outcome": "invalid"}\n{"trial": 1, "outcome": "success"}\n')
    operator = ScriptedOperator(path)
    found = [operator.judge(1, None) for _ in range(3)]
    assert [judgement and judgement.outcome for judgement in found] == ["invalid", "success", None]
    path.write_text('{"trial": 1, "outcome": "great"}\n')
    with pytest.raises(RobotError, match="great"):
        ScriptedOperator(path)


def test_ghost() -> None:
    generator = np.random.default_rng(0)
    live = generator.integers(90, 110, (60, 80, 3)).astype(np.uint8)
    wanted = live.copy()
    assert (overlay(live, wanted) == live).all() and mismatch(live, wanted) == 0
    wanted[20:40, 30:50] = 255
    apart = mismatch(live, wanted)
    assert apart == pytest.approx(400 / 4800, rel=0.3)
    ghost = overlay(live, wanted)
    assert (ghost[5, 5] == live[5, 5]).all()
    pink = ghost[30, 40].astype(int)
    assert pink[0] > 240 and pink[0] > pink[2] > pink[1]  # missing
    amber = overlay(wanted, live)[30, 40].astype(int)
    assert amber[0] > amber[1] > amber[2] + 20  # too much
    assert overlay(live, wanted[::2, ::2]).shape == live.shape


def test_page_serves_state_views_and_keys(page: LivePage) -> None:
    image = np.full((48, 64, 3), 120, np.uint8)
    page.state.show(Reading(0.0, np.zeros(1), {}, {"front": View(image, 0.0)}))
    page.state.want({"front": np.zeros_like(image)})
    page.state.set(phase="arranging", trial=2, scene="initial state 5000")
    page.state.event(SafetyEvent(0.0, "hold", "stale_frame"))
    page.state.event(SafetyEvent(0.0, "limit", "step"))
    code, content = request(page.url)
    assert code == 200 and page.token.encode() in content and b"http" not in content.lower()[200:]
    code, content = request(page.url + "state")
    state = json.loads(content)
    assert state["views"] == state["ghost"] == ["front"] and state["trial"] == 2
    assert [event["kind"] for event in state["events"]] == ["stale_frame"]
    plain, ghost = (request(page.url + f"view/front.jpg{q}")[1] for q in ("", "?ghost=1"))
    assert plain[:2] == ghost[:2] == b"\xff\xd8" and plain != ghost
    assert request(page.url + "view/rear.jpg")[0] == 404
    good = json.dumps({"key": "f", "note": "dropped"}).encode()
    assert request(page.url + "key", good, X_Token=page.token)[0] == 200
    asked = page.console.next(1)
    assert asked is not None and (asked.name, asked.note) == ("failure", "dropped")


@pytest.mark.parametrize(
    ("path", "data", "headers", "code"),
    [
        ("key", b'{"key": "x"}', {"X_Token": "guess"}, 403),
        ("key", b'{"key": "x"}', {}, 403),
        ("key", b"x" * 20_000, {}, 413),
        ("state", None, {"Host": "evil.example"}, 403),
        ("etc/passwd", None, {}, 404),
        ("view/../../secret.jpg", None, {}, 404),
    ],
)
def test_page_refuses_strangers(
    path: str, data: bytes | None, headers: dict[str, str], code: int, page: LivePage
) -> None:
    assert request(page.url + path, data, **headers)[0] == code
    assert page.console.next(0) is None
    for bad in (b"[]", b"{}", b'{"key": "nothing"}', b"\xff"):
        assert request(page.url + "key", bad, X_Token=page.token)[0] == 400


def test_a_person_at_the_page_runs_an_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    keys = {"arranging": "g", "running": "s", "judging": "f", "stopped": "r"}
    over = threading.Event()

    def press(url: str) -> None:
        token = request(url)[1].decode().split('name="token" content="')[1].split('"')[0]
        while not over.is_set():
            try:
                phase = json.loads(request(url + "state")[1])["phase"]
                if phase in keys:
                    body = json.dumps({"key": keys[phase]}).encode()
                    request(url + "key", body, X_Token=token)
            except OSError:
                return
            time.sleep(0.15)

    def say(line: str) -> None:
        if line.startswith("live page: "):
            threading.Thread(target=press, args=(line.rpartition(" ")[2],), daemon=True).start()

    config = EvaluationConfig(
        loop=LoopConfig(seconds=1.5),
        judging=JudgingConfig(operator="browser"),
        simulated=SimulatedConfig(size=32),
    )
    found = evaluate_on_robot(Plan(("expert:0.3", "expert:1"), trials=1), config, tmp_path, say=say)
    over.set()
    assert found["finished"] and found["judged"] == 2
    assert [policy["successes"] for policy in found["policies"]] == [1, 1]
