"""Any kind of GRM from its folder."""

from __future__ import annotations

import json
from pathlib import Path

from robo.errors import CheckpointError, RoboError
from robo.rewards.grm.backbone import Backbone
from robo.rewards.grm.compact import CompactGRM
from robo.rewards.grm.potential import AnyGRM


def kind_of(folder: Path) -> str:
    """What ``grm.json`` says the folder holds.

    Raises:
        CheckpointError: a folder without a readable ``grm.json``.
    """
    path = Path(folder) / "grm.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["kind"])
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder} holds no grm.json, so it is no fitted GRM; make one with `robo fit grm`"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}: {error}); fit the GRM again"
        ) from error


def load_model(folder: str | Path, device: str = "cpu") -> AnyGRM:
    """The model in a folder: compact, vision-language, served, or several of them.

    Raises:
        CheckpointError: a folder that is missing or damaged.
        RoboError: a missing extra, a service that does not answer.
    """
    kind = kind_of(Path(folder))
    if kind in ("vlm_grm", "http_grm"):
        from robo.rewards.grm.pair_model import PairModel

        return PairModel.load(folder, device)
    if kind == "ensemble_grm":
        from robo.rewards.grm.ensemble import EnsembleGRM

        return EnsembleGRM.load(folder, device)
    return CompactGRM.load(folder, device)


def load_backbone(folder: str | Path, device: str = "cpu", task: str | None = None) -> Backbone:
    """The model in a folder as a backbone, which answers about pairs of frames.

    Args:
        folder: of a fitted GRM.
        device: torch device.
        task: whose references a compact model of several tasks compares with.

    Raises:
        CheckpointError: a folder that is missing or damaged.
        RoboError: several models in one folder, several tasks and none named, a missing extra, a
            service that does not answer.
    """
    model = load_model(folder, device)
    if isinstance(model, CompactGRM):
        if task is not None:
            model = model.for_task(task)
        elif len(model.tasks) > 1:
            raise RoboError(
                f"{folder} holds a GRM of tasks {sorted(model.tasks)}, which compares with START "
                "and GOAL of one; name it by --task"
            )
        from robo.rewards.grm.compact_backbone import CompactBackbone

        return CompactBackbone(model, own_references=True)
    backbone = getattr(model, "backbone", None)
    if backbone is None:
        raise RoboError(f"{folder} holds {kind_of(Path(folder))}; name the folder of one model")
    return backbone
