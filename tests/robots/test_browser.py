"""The pages in a real browser: no console errors. Skipped where no Chromium is installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from robo.robots.evaluation import evaluate_on_robot
from robo.robots.evaluation_config import EvaluationConfig
from robo.robots.live import LivePage
from robo.robots.live_state import LiveState
from robo.robots.loop import LoopConfig
from robo.robots.operators import KEYS, Console
from robo.robots.plan import Plan
from robo.robots.robot import Reading, View
from robo.robots.safety import SafetyEvent
from robo.robots.simulated import SimulatedConfig

ROOT = Path(__file__).parent.parent.parent
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
NODE = shutil.which("node")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason=f"none of {NAMES} is installed")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluation")
    config = EvaluationConfig(
        clock="virtual",
        order_seed=0,
        loop=LoopConfig(seconds=1.0, frame_stride=4),
        simulated=SimulatedConfig(size=32),
    )
    plan = Plan(("expert:0.3", "script:hover"), trials=2)
    evaluate_on_robot(plan, config, out, say=lambda line: None)
    return out / "report.html"


def browse(url: str, folder: Path) -> tuple[str, str]:
    """DOM after the scripts ran, and what was logged; a screenshot lies in ``folder``."""
    assert CHROMIUM is not None
    base = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    base += ["--virtual-time-budget=4000", "--window-size=1200,2000"]
    shot = [*base, f"--screenshot={folder / 'page.png'}", url]
    subprocess.run(shot, check=True, capture_output=True, timeout=120)
    done = subprocess.run(
        [*base, "--dump-dom", url], check=True, capture_output=True, text=True, timeout=120
    )
    return done.stdout, done.stderr


@needs_chromium
def test_report_in_chromium(report: Path, tmp_path: Path) -> None:
    page, log = browse(report.as_uri(), tmp_path)
    assert "CONSOLE" not in log and page.count("<video") == 4
    assert (tmp_path / "page.png").stat().st_size > 10_000


@needs_chromium
def test_live_page_in_chromium(tmp_path: Path) -> None:
    state = LiveState(4)
    image = np.random.default_rng(0).integers(0, 255, (48, 48, 3)).astype(np.uint8)
    state.show(Reading(0.0, np.zeros(1), {}, {"front": View(image, 0.0)}))
    state.set(phase="arranging", trial=2)
    live = LivePage(state, Console())
    try:
        page, log = browse(live.url, tmp_path)
    finally:
        live.close()
    assert "CONSOLE" not in log and "Trial 2 of 4" in page and "view front" in page


def test_report_needs_nothing_from_outside(report: Path) -> None:
    page = report.read_text()
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
    assert "@import" not in page and "url(" not in page and "<script" not in page
    for tag in ("section", "svg", "table", "article", "main"):
        assert page.count(f"<{tag}") == page.count(f"</{tag}>") > 0
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page).lower().replace("nano", "")


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_script_of_the_live_page_runs(tmp_path: Path) -> None:
    """On a stand-in for the browser's document, where there is no browser."""
    text = (ROOT / "robo" / "robots" / "assets" / "live.html").read_text()
    script = tmp_path / "live.js"
    script.write_text(text.partition("<script>")[2].partition("</script>")[0])
    live = LiveState(4)
    states = [live.snapshot()]
    image = np.zeros((8, 8, 3), np.uint8)
    live.show(Reading(0.0, np.zeros(1), {}, {"front": View(image, 0.0)}))
    live.want({"front": image})
    live.set(done=1, phase="arranging", trial=2, mode="idle", reason="")
    live.event(SafetyEvent(0.0, "stop", "force"))
    states.append(live.snapshot())
    assert NODE is not None
    command = [NODE, str(Path(__file__).parent / "live_page_dom.js"), str(script)]
    done = subprocess.run([*command, json.dumps(states)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["trial"] == "Trial 2 of 4" and found["width"] == "25%"
    assert found["kind"] == "arranging" and found["phase"].startswith("Arrange the scene")
    assert found["views"] == ["/view/front.jpg?ghost=1"]
    assert found["events"][0].endswith("stop: force")
    keys = [key["key"] for token, key in found["posted"] if token == "token"]
    assert keys == ["x", "s", "note"] and all(key in {*KEYS, *KEYS.values()} for key in keys)


def test_script_of_the_live_page_names_what_the_page_has() -> None:
    text = (ROOT / "robo" / "robots" / "assets" / "live.html").read_text()
    asked = set(re.findall(r'element\("(\w+)"\)', text))
    assert asked and asked <= set(re.findall(r'id="(\w+)"', text))
