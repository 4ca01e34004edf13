"""Commands around SRPO: collect, fit an encoder, fit a policy offline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robo.cli import main
from robo.perception.compact_video import CompactVideoEncoder


@pytest.mark.slow
def test_from_episodes_to_an_encoder_and_an_offline_policy(tmp_path: Path, capsys):
    store, encoder, policy = (tmp_path / name for name in ("collect", "encoder", "offline"))
    collect = ["collect", "--task", "mujoco/Reach", "--demonstrations", "3", "--stride", "10"]
    assert main([*collect, "--views", "front", "--size", "32", "--out", str(store)]) == 0
    fit = ["fit", "video-encoder", "--store", str(store), "--iterations", "2", "--batch", "2"]
    shape = ["--network.height", "32", "--network.width", "32", "--network.frames", "4"]
    shape += ["--network.segments", "2"]
    assert main([*fit, *shape, "--json", "--out", str(encoder)]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["episodes"] == 3 and result["dim"] == 2 * 2 * 2 * 96
    assert CompactVideoEncoder.load(encoder).dim == result["dim"]
    offline = ["fit", "offline", "--store", str(store), "--encoder", str(encoder)]
    assert main([*offline, "--epochs", "2", "--json", "--out", str(policy)]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["episodes"] == 3 and (policy / "policy" / "policy.json").is_file()
    # One sentence where the encoder is none.
    assert main([*offline[:-1], str(tmp_path / "none"), "--out", str(tmp_path / "x")]) == 2
    assert "robo fit video-encoder" in capsys.readouterr().err
