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
from typing import Any

import pytest
import torch
import tyro

from robo.cli import COMMANDS
from robo.commands.demo import FAILURES as DEMO_FAILURES
from robo.commands.demo import Demo
from robo.rewards.grm.compact import CompactGRM, CompactGRMConfig
from robo.sim.mujoco.expert import FAILURES

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


ROW = {
    "name": "HalfCheetah",
    "ours": 2000.0,
    "peers": {"other": 1000.0},
    "ratio_to_best": 2.0,
    "ratio_range": [1.8, 2.2],
    "runs": 5,
    "cpu": {"ours": {"median": 2000.0, "low": 1900.0, "high": 2100.0}},
}
ORDER = {
    "voc_plus": 0.96,
    "voc_plus_incremental": 0.97,
    "voc_minus": 0.91,
    "auc": 0.99,
    "auc_matched_lengths": 0.98,
    "completion": 0.92,
}
TRAINING = {
    "task": "mujoco/Lift",
    "timeout": "keep",
    "seeds": [0, 1, 2],
    "total_steps": 300_000,
    "demonstrations": 30,
    "iterations": 400,
    "evaluate_every_steps": 19_200,
    "selection_seeds": "9000-9099",
    "report_seeds": "5000-5099",
}
RUNS = [{"seed": 0, "steps": 33_792, "solved": True}, {"seed": 1, "steps": 59_904, "solved": False}]
EXAMPLES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "demo": (
        {
            "runs": [
                {
                    "task": "mujoco/Lift",
                    "success_shaped": 0.98,
                    "interval": [0.93, 0.9945],
                    "seeds": "6000-6099",
                    "selection_seeds": "9000-9099",
                    "seed": seed,
                    "environment_steps": 96_000,
                    "timeout": "keep",
                    "stages": {"collect": 17.2, "fit": 71.0},
                }
                for seed in (0, 1)
            ],
            "machine": {"cpu": "some CPU", "cores": 2, "date": "2026-11-22"},
        },
        (
            "| 98% | 98% |",
            "93.0% to 99.5%",
            "96,000",
            "`keep`",
            "| fit, seconds | 71 | 71 |",
            "6000-6099",
            "some CPU",
        ),
    ),
    "ppo_throughput": (
        {"rows": [ROW], "machine": "some CPU", "versions": {"torch": "2.14.1", "other": "1.0"}},
        ("2,000 (1,900 to 2,100)", "2.00 (1.80 to 2.20)", "some CPU", "torch 2.14.1", "other 1.0"),
    ),
    "ppo_sample_efficiency": (
        {
            "rows": [
                {"name": "gym/CartPole-v1", "ours": None, "peers": {"other": 39_128}, "runs": RUNS}
            ]
        },
        ("| - |", "33,792, > 59,904", "39,128 (other)", "2 seeds (0, 1)"),
    ),
    "lift_throughput": (
        {
            "rows": [
                {
                    "name": "Lift",
                    "ours": 4000,
                    "peers": {"bare physics": 8000},
                    "ratio_to_best": 0.5,
                    "spread_ours": [3900, 4100],
                    "spread_physics": [7900, 8100],
                }
            ],
            "machine": {"cpu": "some CPU", "cores": 2, "date": "2026-11-22"},
        },
        ("4,000 (3,900 to 4,100)", "8,000 (7,900 to 8,100)", "50%", "some CPU, 2 cores"),
    ),
    "grm_quality": (
        {
            "task": "mujoco/Lift",
            "mode": "backward",
            "stride": 5,
            "limits": {"auc": 0.95},
            "sets": {"demos": {"LiftExpert": 60}, "failures": {"drop": 40, "knock": 40}},
            "grms": {
                "grm-0": {
                    "auc": 0.97,
                    "spearman_true": 0.81,
                    "intervals": {"auc": [0.95, 0.99]},
                    "auc_by_kind": {"drop": 0.96},
                }
            },
        },
        ("0.97 (0.95 to 0.99) | ≥ 0.95", "0.81 (- to -)", "drop 0.96", "failures 80", "1 fit"),
    ),
    "assess_rewards": (
        {
            "gamma": 0.99,
            "episodes": {"mujoco": {"episodes": 40, "successes": 20, "tasks": ["mujoco/Lift"]}},
            "rows": [
                {
                    "simulator": "mujoco",
                    "reward": "naive:progress",
                    "caught": ["loop_income", "idle_income"],
                    "loop_income": 0.03,
                    "idle_income": 0.05,
                    "auc": {"value": 0.98, "low": 0.9, "high": 1.0},
                    "voc_plus": {"value": 0.95, "low": None, "high": None},
                    "false_positive_rate": {"value": None},
                },
                {"simulator": "mujoco", "reward": "route completion", "refused": "no signals"},
            ],
        },
        (
            "| loop income, idle income | +3.00 | +5.00 | 0.98 (0.90 to 1.00) | 0.95 | - |",
            "| route completion | refused",
            "20 successes and 20 failures of mujoco/Lift",
        ),
    ),
    "reward_wrappers": (
        {
            "task": "mujoco/Reach",
            "total_steps": 100_000,
            "seeds": [0, 1],
            "report_seeds": "5000-5099",
            "timeout": "keep",
            "rows": [
                {"wrapper": "none", "fault": "farmable", "success": [0.1, 0.2, 0.0]},
                {"wrapper": "delta", "fault": "farmable", "success": [1.0, 1.0, 1.0]},
                {"wrapper": "delta", "fault": "hill", "success": [0.5]},
            ],
        },
        ("| none | 10% (0% to 20%) | - |", "| delta | 100% | 50% |", "100,000 steps", "`keep`"),
    ),
    "distance_regret": (
        {
            "processes": 1000,
            "states": 8,
            "actions": 3,
            "gamma": 0.9,
            "rows": [{"name": "starc", "value": 0.9, "low": 0.88, "high": 0.92}],
        },
        ("| STARC | 0.90 (0.88 to 0.92) |", "1,000 random processes"),
    ),
    "carl_network": (
        {
            "rows": [
                {
                    "name": "one update",
                    "ours": 9.22,
                    "peers": {"plain PyTorch loop": 23.83},
                    "convolution_limit": 3.57,
                    "of_convolution_limit": 0.387,
                    "extrapolated": {
                        "ours_minutes": 24.3,
                        "plain_minutes": 62.9,
                        "convolution_limit_minutes": 9.4,
                    },
                    "precision": "bfloat16",
                    "runs": 3,
                }
            ]
        },
        ("| one update | 9.2 s | 23.8 s | 3.6 s | 39% | 24 min (63, 9) |", "median of 3"),
    ),
    "ppo_learning_curves": (
        {
            "rows": [
                {
                    "name": "Pendulum-v1",
                    "steps": 150_000,
                    "finals": {"robo": [-150.0, -170.0], "other": [-180.0, -140.0]},
                    "range": {"robo": [-170.0, -150.0], "other": [-180.0, -140.0]},
                    "within_peers_spread": True,
                    "permutation_p": {"other": 1.0},
                }
            ],
            "seeds": [0, 1],
            "test": "a test",
        },
        ("| -160 (-170 to -150) | -160 (-180 to -140) | yes | 1.00 |", "150,000 steps"),
    ),
    "batch_scaling": (
        {
            "rows": [
                {
                    "task": "gym/Pendulum-v1",
                    "batch": batch,
                    "rule": rule,
                    "ours": -200.0,
                    "returns": [-210.0, -190.0],
                    "wall_to_threshold": wall,
                    "threshold": -250.0,
                    "samples": 524_288,
                }
                for batch, rule, wall in ((512, "none", 3.25), (1024, "sqrt", None))
            ],
            "seeds": [0, 1],
            "minibatches": 8,
            "epochs": 10,
        },
        ("| 512 | -200 (-210 to -190), 3.2 s |  |", "| 1,024 |  | -200 (-210 to -190), - |"),
    ),
    "grm_tasks": (
        {
            "rows": [{"name": "mujoco/Reach", "episodes": 60, **ORDER}],
            "seen": ORDER,
            "untrained": {**ORDER, "completion": 0.333},
            "held_out": "robosuite/Stack",
            "adaptation": {
                "before": {**ORDER, "voc_plus": 0.2, "fits": [{"episodes": 45}]},
                "after": {**ORDER, "fits": [{"episodes": 45}]},
            },
            "limits": {"seen": {"voc_plus": 0.95, "completion": 0.9}, "adapted": {"auc": 0.95}},
            "settings": {"demonstrations": 30, "failures": 20, "mode": "mean"},
            "seeds": [0],
        },
        (
            "| mujoco/Reach | 60 | 0.96 | 0.97 | 0.91 | 0.99 | 0.98 | 92% |",
            "| required |  | ≥ 0.95 |  |  |  |  | ≥ 90% |",
            "| untrained network, the same mean |  | 0.96 | 0.97 | 0.91 | 0.99 | 0.98 | 33% |",
            "| robosuite/Stack, not adapted | 45 | 0.20 | 0.97 | 0.91 |",
            "| required |  |  |  |  | ≥ 0.95 |  |  |",
            "40 failures",
        ),
    ),
    "grm_ablation": (
        {
            "rows": [
                {
                    "name": name,
                    "runs": 3,
                    "success": [1.0, 0.98, 0.0],
                    "steps_to_80": steps,
                    "median_steps_to_80": median,
                    "excess": [excess, excess, excess],
                }
                for name, steps, median, excess in (
                    ("full", [96_000, 115_200, None], 115_200, -0.03),
                    ("no_shaping", [None, None, None], None, None),
                )
            ],
            **TRAINING,
        },
        (
            "| 98% (0% to 100%) | 2 of 3 | 115,200 (96,000 to 115,200) | -0.03 |",
            "| no shaping: sparse success | 98% (0% to 100%) | 0 of 3 | - | - |",
            "300,000 steps, 3 seeds (0, 1, 2)",
            "seeds 9000-9099",
            "`keep`",
        ),
    ),
    "reward_hacking": (
        {
            "rows": [
                {
                    "name": name,
                    "success": [1.0, 0.5],
                    "potential": [0.9, 0.8],
                    "true_progress": [0.3, 0.4],
                    "excess": [0.6, 0.4],
                    "excess_of_failures": [None, 0.7],
                    "counts": [counts, counts],
                }
                for name, counts in (("frozen", {}), ("refreshed", {"refreshes_accepted": 5}))
            ],
            "views": ["front"],
            "members": 4,
            **TRAINING,
        },
        (
            "| frozen | 75% (50% to 100%) | 0.85 (0.80 to 0.90) | 0.35 (0.30 to 0.40) "
            "| +0.50 (+0.40 to +0.60) | +0.70 | - |",
            "| 5 |",
            "ensembles of 4",
        ),
    ),
}


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
