"""Tiny checkpoints of the real classes: random weights, real processor, a trained tokenizer."""

from __future__ import annotations

import pytest

from tests.rewards.grm.vlm.tiny import FAMILIES, write_checkpoint


@pytest.fixture(scope="session", params=FAMILIES)
def checkpoint(request, tmp_path_factory):
    """Folder of a tiny checkpoint of each family."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp(request.param)
    return write_checkpoint(request.param, folder)
