"""Bad input through the real commands: one sentence, exit code 2, and nothing recorded is lost."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

# Before any GL context: that import crashes the process afterwards (see robo.policies.trainer).
import torch._dynamo

from robo import cli
from robo.data import EpisodeStore
from robo.policies.actor_critic import ActorCritic
from robo.policies.checkpoint import Checkpoints, read

resource = pytest.importorskip("resource")

ROOT = Path(__file__).parent.parent
TRAIN = ["train", "--quiet", "--task", "mujoco/Reach", "--num-envs", "2"]
TRAIN += ["--steps-per-rollout", "8", "--ppo.epochs", "1", "--network.hidden", "8", "8"]
TRAIN += ["--evaluate-every-steps", "0", "--checkpoint-every-iterations", "1"]
COLLECT = ["collect", "--task", "mujoco/Reach", "--demonstrations", "2", "--num-envs", "2"]
COLLECT += ["--size", "32", "--stride", "10", "--views", "front", "side"]
FIT = ["fit", "grm", "--iterations", "2", "--views", "front", "side", "--threads", "1"]

Refused = Callable[..., str]


def contents(folder: Path) -> dict[str, bytes]:
    """Relative path to bytes of every file; locks are no records."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def sentence_of(code: int, errors: str) -> str:
    """The one sentence of a refused command, on its own line after any progress."""
    lines = errors.strip().splitlines()
    assert code == cli.EXIT_BAD_INPUT, errors
    assert "Traceback" not in errors
    assert [line.startswith("robo: ") for line in lines] == [False] * (len(lines) - 1) + [True]
    return lines[-1].removeprefix("robo: ")


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must be refused; its sentence."""

    def run(*argv: object) -> str:
        capsys.readouterr()
        code = cli.main([str(argument) for argument in argv])
        return sentence_of(code, capsys.readouterr().err)

    return run


def robo(*argv: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "robo.cli", *map(str, argv)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``demos``, ``grm`` and ``run``, each made by its command."""
    root = tmp_path_factory.mktemp("recorded")
    assert cli.main([*COLLECT, "--out", str(root / "demos")]) == 0
    assert cli.main([*FIT, "--store", str(root / "demos"), "--out", str(root / "grm")]) == 0
    assert cli.main([*TRAIN, "--total-steps", "48", "--out", str(root / "run")]) == 0
    return root


@pytest.fixture
def work(recorded: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(recorded, tmp_path / "work"))


# Unknown task


@pytest.mark.parametrize("task", ["mujoco/Lfit", "mujco/Lift", "Lift", "gym/CartPole-v99"])
def test_unknown_task(task: str, work: Path, refused: Refused) -> None:
    before = contents(work)
    for argv in (
        [*TRAIN, "--out", work / "new"],
        [*TRAIN, "--resume", "--out", work / "run"],
        ["evaluate", "--policy", work / "run", "--out", work / "new"],
        [*COLLECT, "--out", work / "demos"],
    ):
        sentence = refused(*argv, "--task", task)
        assert task in sentence and "robo tasks" in sentence, sentence
    assert contents(work) == before


# Corrupt checkpoint


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Flip one bit of what a file holds: of an archive's largest member, not of its padding."""
    content = bytearray(path.read_bytes())
    place = len(content) // 2
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            member = max(archive.infolist(), key=lambda one: one.compress_size)
        name, extra = struct.unpack_from("<HH", content, member.header_offset + 26)
        place = member.header_offset + 30 + name + extra + member.compress_size // 2
    content[place] ^= 0x40
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def digit(path: Path) -> None:
    """Change one digit: a JSON file still reads."""
    content = bytearray(path.read_bytes())
    place = next(i for i in range(len(content) // 2, 0, -1) if content[i] in b"1234567")
    content[place] += 1
    path.write_bytes(content)


DAMAGE = pytest.mark.parametrize("damage", [cut, flip, empty])


@DAMAGE
def test_corrupt_checkpoints(damage: Callable, work: Path, refused: Refused) -> None:
    for path in (work / "run" / "checkpoints").glob("*.pt"):
        damage(path)
    before = contents(work)
    sentence = refused(*TRAIN, "--total-steps", 64, "--resume", "--out", work / "run")
    assert "none of the 3 checkpoints" in sentence and "damaged" in sentence, sentence
    assert "checkpoint-00000003.pt" in sentence and "another --out" in sentence
    assert contents(work) == before


@DAMAGE
@pytest.mark.parametrize("name", ["policy.safetensors", "policy.json"])
def test_corrupt_policy(damage: Callable, name: str, work: Path, refused: Refused) -> None:
    damage(work / "run" / "policy" / name)
    before = contents(work)
    policy = work / "run" / "policy"
    for argv in (
        ["evaluate", "--policy", policy, "--task", "mujoco/Reach", "--out", work / "new"],
        [*TRAIN, "--start-from", policy, "--out", work / "new"],
    ):
        sentence = refused(*argv)
        assert str(policy) in sentence and "damaged" in sentence, sentence
        assert "another checkpoint" in sentence
    assert contents(work) == before


@pytest.mark.parametrize("damage", [cut, flip, empty, digit])
@pytest.mark.parametrize("name", ["model.safetensors", "grm.json"])
def test_corrupt_grm(damage: Callable, name: str, work: Path, refused: Refused) -> None:
    damage(work / "grm" / name)
    before = contents(work)
    for argv in (
        ["score", "--grm", work / "grm", "--store", work / "demos", "--out", work / "new"],
        ["video", "--grm", work / "grm", "--store", work / "demos" / "episodes", "--out", "new"],
        [*TRAIN, "--reward.kind", "grm", "--reward.grm", work / "grm", "--out", work / "new"],
    ):
        sentence = refused(*argv)
        assert str(work / "grm" / name) in sentence and "fit the GRM again" in sentence, sentence
    assert contents(work) == before


# Wrong image size


def test_wrong_image_size(work: Path, refused: Refused) -> None:
    assert cli.main([*COLLECT, "--size", "40", "--out", str(work / "large")]) == 0
    before = contents(work)
    episodes = work / "large" / "episodes"
    for argv in (
        ["score", "--grm", work / "grm", "--store", work / "large", "--out", work / "new"],
        ["video", "--grm", work / "grm", "--store", episodes, "--out", work / "new"],
    ):
        sentence = refused(*argv)
        assert "40x40" in sentence and "32x32" in sentence, sentence
    sentence = refused(*FIT, "--height", 64, "--store", work / "demos", "--out", work / "grm")
    assert "64" in sentence and "32" in sentence, sentence
    assert contents(work) == before


# Empty demo store


def test_empty_store(work: Path, refused: Refused) -> None:
    (work / "nothing").mkdir()
    with EpisodeStore(work / "empty"):
        pass
    before = contents(work)
    for name in ("empty", "nothing", "missing"):
        store = work / name
        for argv in (
            [*FIT, "--out", work / "grm"],
            ["score", "--grm", work / "grm", "--out", work / "new"],
            ["video", "--grm", work / "grm", "--out", work / "new"],
        ):
            sentence = refused(*argv, "--store", store)
            assert str(store) in sentence and "collect" in sentence, sentence
    assert contents(work) == before


# NaN


def test_nan_action(work: Path, refused: Refused) -> None:
    for name, value, words in (
        ("nan", float("nan"), ("NaN", "expected finite", "another checkpoint")),
        # Finite numbers, whose sums are not, in whatever order a machine adds them.
        ("huge", 3e38, ("action", "environment", "NaN", "earlier checkpoint")),
    ):
        fill(work / "run" / "policy", value, work / name)
        before = contents(work)
        for argv in (
            ["evaluate", "--task", "mujoco/Reach", "--policy", work / name, "--out", work / "new"],
            [*TRAIN, "--start-from", work / name, "--out", work / "new"],
        ):
            sentence = refused(*argv)
            assert all(word in sentence for word in words), sentence
        shutil.rmtree(work / "new", ignore_errors=True)
        assert contents(work) == before


def fill(policy: Path, value: float, folder: Path) -> None:
    """Save the policy with every parameter at ``value``."""
    actor_critic = ActorCritic.load(policy)
    with torch.no_grad():
        for parameter in actor_critic.parameters():
            parameter.fill_(value)
    actor_critic.save(folder)


def test_a_run_that_diverges_keeps_what_it_recorded(work: Path, refused: Refused) -> None:
    before = contents(work / "run")
    diverging = ["--ppo.learning-rate", "1e30", "--total-steps", 400, "--ppo.epochs", 5]
    sentence = refused(*TRAIN, *diverging, "--out", work / "new")
    assert "finite" in sentence and "learning rate" in sentence, sentence
    assert json.loads((work / "new" / "config.json").read_text())["config"]["total_steps"] == 400
    assert contents(work / "run") == before


# Missing GL


# Settings under which MuJoCo finds no GL, whatever is installed.
NO_GL = {"MUJOCO_GL": "egl", "MUJOCO_EGL_DEVICE_ID": "99"}


@pytest.mark.slow
def test_missing_gl_while_collecting(work: Path) -> None:
    before = contents(work)
    done = robo(*COLLECT, "--out", work / "new", **NO_GL)
    sentence = sentence_of(done.returncode, done.stderr)
    assert "MUJOCO_GL='egl'" in sentence and "robo doctor" in sentence, sentence
    after = contents(work)
    assert {name: after[name] for name in before} == before


@pytest.mark.slow
def test_missing_gl_while_training(work: Path) -> None:
    before = contents(work)
    by_grm = ["--reward.kind", "grm", "--reward.grm", work / "grm"]
    done = robo(*TRAIN, *by_grm, "--out", work / "new", **NO_GL)
    sentence = sentence_of(done.returncode, done.stderr)
    assert "MUJOCO_GL='egl'" in sentence and "robo doctor" in sentence, sentence
    after = contents(work)
    assert {name: after[name] for name in before} == before


# Full disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a real file system of that many KiB."""
    mounted: list[Path] = []

    def mount(size: int) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(place)]
        if (
            os.geteuid() != 0
            or subprocess.run(command, capture_output=True, check=False).returncode
        ):
            pytest.skip("mounting a file system takes root")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


def test_full_disk_while_collecting(disk: Callable[[int], Path], refused: Refused) -> None:
    out = disk(200)
    sentence = refused(*COLLECT, "--demonstrations", 200, "--out", out / "demos")
    assert "no space is left" in sentence and "free some space" in sentence, sentence
    with EpisodeStore(out / "demos" / "episodes", mode="r") as store:
        kept = len(store)
        assert kept >= 2 and store.verify() == []
        assert all(episode.success for episode in store)
    assert f"the {kept} before it are intact" in sentence
    config = json.loads((out / "demos" / "config.json").read_text())
    assert config["demonstrations"] == 200
    assert cli.main(["data", "verify", str(out / "demos" / "episodes")]) == 0


def test_full_disk_while_training(disk: Callable[[int], Path], refused: Refused) -> None:
    out = disk(400)
    ballast = out / "ballast"
    ballast.write_bytes(bytes(290_000))
    run = out / "run"
    argv = [*TRAIN, "--total-steps", 320, "--keep-checkpoints", 20, "--out", run]
    sentence = refused(*argv)
    assert "disk is full" in sentence and "--resume" in sentence and str(run) in sentence, sentence
    assert json.loads((run / "config.json").read_text())["config"]["total_steps"] == 320
    paths = Checkpoints(run / "checkpoints").paths()
    assert paths
    for path in paths:
        read(path)
    before = {path: path.read_bytes() for path in paths}
    refused(*argv, "--resume")  # still full
    assert {path: path.read_bytes() for path in paths} == before
    ballast.unlink()
    assert (
        cli.main([str(argument) for argument in (*argv, "--resume", "--keep-checkpoints", 2)]) == 0
    )
    assert json.loads((run / "result.json").read_text())["steps"] == 320


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The kernel refuses writes half-way, as on a full disk, and without being root."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_file_size_limit_while_training(work: Path, refused: Refused) -> None:
    before = contents(work / "run")
    argv = [*TRAIN, "--total-steps", 80, "--resume", "--out", work / "run"]
    with file_size_limit(8_000):
        sentence = refused(*argv)
    assert "disk is full" in sentence and "--resume" in sentence, sentence
    after = contents(work / "run")
    kept = {name for name in before if name.startswith(("checkpoints", "policy", "result"))}
    assert kept and all(after[name] == before[name] for name in kept)
    assert cli.main([str(argument) for argument in argv]) == 0
    assert json.loads((work / "run" / "result.json").read_text())["steps"] == 80


def test_file_size_limit_while_fitting(work: Path, refused: Refused) -> None:
    before = contents(work)
    with file_size_limit(20_000):
        sentence = refused(*FIT, "--store", work / "demos", "--seed", 1, "--out", work / "grm")
    assert "model.safetensors" in sentence and "disk is full" in sentence, sentence
    assert contents(work) == before


def test_file_size_limit_while_filming(work: Path, refused: Refused) -> None:
    argv = ["video", "--grm", work / "grm", "--store", work / "demos", "--width", 640]
    argv += ["--height", 360, "--out", work / "video"]
    assert cli.main([str(argument) for argument in argv]) == 0
    before = contents(work)
    with file_size_limit(2_000):
        sentence = refused(*argv)
    assert "cannot write the video" in sentence and "space" in sentence, sentence
    assert contents(work) == before


# Settings out of range


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("train --out new --num-envs 0", ("num_envs", "0", "at least 1")),
        ("train --out new --stop-success 2", ("stop_success", "2", "0 to 1")),
        ("train --out new --reward.stride 0", ("stride", "0", "at least 1")),
        ("train --out new --ppo.gamma 1.5", ("gamma", "1.5", "0 to 1")),
        ("train --out new --ppo.learning-rate -1", ("learning_rate", "-1", "at least 0")),
        ("train --out new --ppo.clip-range nan", ("clip_range", "nan", "above 0")),
        ("train --out new --ppo.value-coefficient -1", ("value_coefficient", "at least 0")),
        ("train --out new --network.hidden 8 0", ("hidden", "(8, 0)", "at least 1")),
        ("train --out new --network.initial-std -1", ("initial_std", "-1", "above 0")),
        ("collect --task mujoco/Reach --demonstrations -1 --out new", ("-1", "at least one")),
        ("collect --task mujoco/Reach --demonstrations 0 --out new", ("0", "at least one")),
        ("collect --task mujoco/Reach --size 100000 --out new", ("100000", "at most 8192")),
        ("assess success --episodes demos --truth progres --out new", ("progres", "progress")),
        ("data info demos", ("demos", "demos/episodes")),
        ("data split nothere --into new --parts train:0.9", ("nothere", "no episode store")),
        ("data split demos/episodes --into new --parts a:0.9 b:0.2", ("0.9", "0.2", "at most 1")),
        ("train --out new --reward.kind grm", ("GRM folder", "robo fit grm")),
        ("evaluate --policy run --task mujoco/Reach --confidence 2", ("confidence", "2", "0.95")),
        ("evaluate --policy run --task mujoco/Reach --seeds 9-3", ("seeds", "9-3", "A-B")),
        ("evaluate --policy run --task mujoco/Lift", ("observation_space", "mujoco/Lift")),
        ("video --store demos/episodes --grm grm --index 9 --out new", ("episode 9", "2")),
        ("evaluate --policy demos --task mujoco/Reach", ("demos", "no policy")),
    ],
)
def test_settings_out_of_range(
    argv: str, words: tuple[str, ...], work: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(work)
    before = contents(work)
    sentence = refused(*argv.split())
    assert all(word in sentence for word in words), sentence
    assert contents(work) == before
    assert not (work / "new").exists()
