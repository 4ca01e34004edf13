"""What the documents say can be run, opened and measured."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch
import tyro

from robo.cli import COMMANDS
from robo.commands.demo import FAILURES as DEMO_FAILURES
from robo.commands.demo import Demo
from robo.rewards.grm.compact import CompactGRM, CompactGRMConfig
from robo.sim.mujoco.expert import FAILURES
from tests.figure_examples import EXAMPLES

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "datasets" / "README.md"]
PROSE = "\n".join(path.read_text() for path in DOCUMENTS)
CODE_LINES = sorted(set(re.findall(r"^    ((?:robo|python|make) .*)$", PROSE, re.MULTILINE)))
INLINE = sorted(set(re.findall(r"`((?:robo|python|make) [^`]+)`", PROSE)))


def load(path: Path) -> ModuleType:
    """A script as a module; its folder stays importable for what it imports beside itself."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    # A name of its own: other tests import the same scripts, and pickle what is in them.
    specification = importlib.util.spec_from_file_location(f"readme_{path.stem}", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


figures = load(ROOT / "tools" / "readme_figures.py")
tables = import_module("figure_tables")  # beside it


def command_of(words: list[str]) -> str | None:
    """The longest command of robo that the words begin with."""
    names = (" ".join(words[:size]) for size in (2, 1))
    return next((name for name in names if name in COMMANDS), None)


# --- what can be run --------------------------------------------------------------------------


@pytest.mark.parametrize("line", [line for line in CODE_LINES if line.startswith("robo ")])
def test_command_line_parses(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    name = command_of(words)
    assert name is not None, f"no such command: {line}"
    entry = COMMANDS[name]
    kind = getattr(import_module(entry.module), entry.name)
    command = tyro.cli(kind, args=words[len(name.split()) :], prog=f"robo {name}")
    assert isinstance(command, kind)


@pytest.mark.parametrize("line", [line for line in INLINE if line.startswith("robo ")])
def test_command_in_a_sentence_exists(line: str) -> None:
    assert command_of(line.split()[1:]) is not None, f"no such command: {line}"


@pytest.mark.parametrize(
    "line", [line for line in (*CODE_LINES, *INLINE) if line.startswith("python ")]
)
def test_script_exists_and_its_options_parse(line: str) -> None:
    script, *words = shlex.split(line)[1:]
    assert (ROOT / script).is_file(), f"{script} does not exist"
    if script.startswith("launch/"):
        assert tyro.cli(load(ROOT / script).Config, args=words) is not None


@pytest.mark.parametrize(
    "line", [line for line in (*CODE_LINES, *INLINE) if line.startswith("make ")]
)
def test_make_target_exists(line: str) -> None:
    target = shlex.split(line, comments=True)[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_commands_of_the_first_hour_are_all_there() -> None:
    named = {command_of(line.split()[1:]) for line in CODE_LINES if line.startswith("robo ")}
    assert {"doctor", "tasks", "collect", "fit grm", "score", "train", "evaluate", "video"} <= named
    assert {"make demo", "make test"} <= {" ".join(line.split()[:2]) for line in CODE_LINES}


def test_documents_describe_the_demos_data() -> None:
    demonstrations, failures = (
        Demo().demonstrations,
        sum(int(part.partition(":")[2]) for part in DEMO_FAILURES),
    )
    assert f"{demonstrations} scripted demonstrations and {failures} scripted failures" in PROSE
    assert f"{demonstrations} demonstrations, {failures} scripted failures" in PROSE
    recorded = [line for line in CODE_LINES if f"--failures {' '.join(DEMO_FAILURES)} " in line]
    assert recorded


def test_documents_list_the_failure_scripts() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (0\.\d\d) \|$", PROSE, re.MULTILINE)
    assert {name: float(ceiling) for name, ceiling in rows} == FAILURES


def test_documents_name_every_error() -> None:
    named = set(re.findall(r"`(\w+Error)`", (ROOT / "docs" / "errors.md").read_text()))
    source = "\n".join(path.read_text() for path in (ROOT / "robo").rglob("*.py"))
    assert named == set(re.findall(r"class (\w+Error)\((?:RoboError|\w+Error)\b", source))


@pytest.mark.slow
def test_python_example_trains(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert code is not None and "total_steps=300_000" in code[1]
    short = code[1].replace("total_steps=300_000", "total_steps=3_840")
    torch.manual_seed(0)
    grm = CompactGRM(CompactGRMConfig(height=32, width=32, channels=(4, 8, 8), embedding=16))
    for kind in ("start", "goal"):
        grm.reference[kind] = {
            view: torch.randint(0, 255, (1, 32, 32, 3), dtype=torch.uint8)
            for view in grm.config.views
        }
    grm.save(tmp_path / "runs" / "grm")
    done = subprocess.run(
        [sys.executable, "-c", short],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert 0 <= float(done.stdout.splitlines()[-1]) <= 1
    assert (tmp_path / "runs" / "mine" / "policy" / "policy.json").is_file()


# --- what can be opened -----------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_exist(document: Path) -> None:
    targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", document.read_text())
    broken = [
        target
        for target in targets
        if "://" not in target and not (document.parent / target).exists()
    ]
    assert not broken


def test_paths_that_the_documents_name_exist() -> None:
    named = set(
        re.findall(r"`((?:robo|launch|tests|tools|docs|datasets|benchmarks)/[\w/.]*)`", PROSE)
    )
    later = {"robo/robots/", "robo/web/"}
    missing = [path for path in sorted(named - later) if not (ROOT / path).exists()]
    assert named and not missing


# --- what was measured ------------------------------------------------------------------------


def test_tables_are_what_the_tool_writes() -> None:
    for page in figures.documents():
        text = page.read_text()
        assert figures.rewritten(text, ROOT / "benchmarks" / "results") == text, (
            f"{page.name}'s tables are stale: run python tools/readme_figures.py"
        )


def test_every_table_is_in_a_page() -> None:
    pages = "".join(page.read_text() for page in figures.documents())
    named = [name for _, name, _ in figures.BLOCK.findall(pages)]
    assert sorted(named) == sorted(figures.BUILDERS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_tables_hold_the_figures(name: str, tmp_path: Path) -> None:
    data, expected = EXAMPLES[name]
    (tmp_path / f"{name}.json").write_text(json.dumps(data))
    text = figures.figure(name, tmp_path)
    assert [part for part in expected if part not in text] == []


def test_shaping_table_reads_what_its_benchmark_writes(tmp_path: Path) -> None:
    benchmark = load(ROOT / "benchmarks" / "shaping_value.py")
    options = benchmark.Options(arms=("grm_keep", "true_keep", "sparse"), seeds=(0, 1))
    study = benchmark.Study(tmp_path / "study")
    runs = benchmark.planned(options, {"": None})
    for run in runs:
        arm = run.settings["arm"]
        steps = {"grm_keep": 96_000, "true_keep": 76_800, "sparse": None}[arm]
        study.save(
            run,
            {
                "arm": arm,
                "timeout": benchmark.timeout_of(arm),
                "steps": run.settings["total_steps"],
                "steps_to_90": steps,
                "success": 0.0 if steps is None else 0.99 - run.settings["seed"] / 100,
                "hacking": {"excess": None if arm == "sparse" else 0.04},
                "cpu_seconds": 60.0,
            },
        )
    results = tmp_path / "results"
    results.mkdir()
    data = benchmark.collected(options, study, runs)
    (results / "shaping_value.json").write_text(json.dumps(data))
    lines = figures.figure("shaping_value", results).splitlines()
    grm, sparse = lines[2], lines[4]
    assert (
        "| `keep` | 2 of 2 | 96,000 (96,000 to 96,000) | 1.25 | 98% (98% to 99%) | +0.04 |" in grm
    )
    assert "| `bootstrap` | 0 of 2 | not within 900,000 | - | 0% | - |" in sparse
    assert "2 seeds (0, 1)" in lines[-1] and "5000-5099" in lines[-1]


@pytest.mark.parametrize("name", figures.BUILDERS)
def test_missing_figures_are_said_to_be_missing(name: str, tmp_path: Path) -> None:
    assert figures.figure(name, tmp_path) == f"*{figures.MISSING}*"


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"rows": [], "arms": {}, "settings": {}}'])
@pytest.mark.parametrize("name", figures.BUILDERS)
def test_figures_of_another_layout_are_refused(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.json").write_text(content)
    with pytest.raises(tables.FigureError, match=rf"{name}\.json .*measure it again"):
        figures.figure(name, tmp_path)


def test_tool_rewrites_checks_and_refuses(tmp_path: Path, capsys) -> None:
    readme, results = tmp_path / "README.md", tmp_path / "results"
    results.mkdir()
    readme.write_text("before\n<!-- figures: demo -->\nold\n<!-- end -->\nafter\n")
    options = ["--pages", str(readme), "--results", str(results)]
    assert figures.main([*options, "--check"]) == 1
    assert figures.main(options) == 0
    assert figures.main([*options, "--check"]) == 0
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    (results / "demo.json").write_text("{}")
    assert figures.main(options) == 2
    assert readme.read_text() == text
    assert "demo.json" in capsys.readouterr().err
