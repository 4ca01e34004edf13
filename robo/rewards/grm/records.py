"""Labelled pairs in the published JSON format, with their pictures, and back.

A record is ``{id, image: [8 paths], task, conversations: [{from: human, value: prompt}, {from:
gpt, value: "<score>+50.0%</score>"}]}``: what the released trainer of Robo-Dopamine reads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robo.errors import StoreError
from robo.rewards.grm.backbone import SLOTS, slot_view
from robo.rewards.grm.pair_set import GOAL, START, PairSet
from robo.rewards.grm.prompt import Prompt
from robo.rewards.grm.score_text import format_score, parse_score
from robo.rollout import Episode
from robo.storage import write_bytes

BLANK = "images/blank.png"
"""Picture of what is hidden."""


def write_records(
    folder: Path,
    episodes: Sequence[Episode],
    pairs: PairSet,
    prompt: Prompt | None = None,
    slots: Sequence[str] = SLOTS,
) -> Path:
    """Write ``train.json`` and its PNG pictures, each picture once.

    Returns:
        Path of ``train.json``.

    Raises:
        StoreError: an episode without a front view.
        RoboError: full disk, missing permission.
    """
    prompt = prompt or Prompt()
    views = sorted(episodes[0].frames)
    shown = [slot_view(slot, views) for slot in slots]
    written: set[str] = set()

    def picture(episode: int, row: int, view: str) -> str:
        """Relative path of a frame, written when it is first needed."""
        name = f"images/{episode:05d}/{view}/frame_{row:06d}.png"
        if name not in written:
            _write_png(folder / name, episodes[episode].frames[view][row])
            written.add(name)
        return name

    _write_png(folder / BLANK, np.full_like(episodes[0].frames[shown[0]][0], 128))
    records = []
    for i in range(len(pairs)):
        episode, reference = int(pairs.episode[i]), int(pairs.reference[i])
        last = len(episodes[reference].frames[shown[0]]) - 1
        images = [
            BLANK if pairs.hidden[i] == START else picture(reference, 0, shown[0]),
            BLANK if pairs.hidden[i] == GOAL else picture(reference, last, shown[0]),
        ]
        for side, row in enumerate((int(pairs.before[i]), int(pairs.after[i]))):
            names = [picture(episode, row, view) for view in shown]
            if pairs.dropped[i, side]:
                names[1:] = [BLANK, BLANK]
            images += names
        instruction = episodes[episode].info.instruction
        records.append(
            {
                "id": f"{i:07d}",
                "image": images,
                "task": instruction,
                "conversations": [
                    {"from": "human", "value": "<image>".join(prompt.pieces(instruction))},
                    {"from": "gpt", "value": format_score(float(pairs.hop[i]), 1)},
                ],
            }
        )
    return write_bytes(folder / "train.json", (json.dumps(records, indent=1) + "\n").encode())


def _write_png(path: Path, image: Any) -> None:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.asarray(image)).save(file, "PNG")
    write_bytes(path, file.getvalue())


def read_records(path: Path) -> list[dict[str, Any]]:
    """Records of a JSON file, with the hop of each under ``hop``.

    Raises:
        StoreError: a file that is no such list, or a record without eight images or a score.
    """
    try:
        records = json.loads(Path(path).read_text(encoding="utf-8"))
        found = []
        for record in records:
            hop = parse_score(str(record["conversations"][-1]["value"]))
            if len(record["image"]) != 8 or np.isnan(hop):
                raise StoreError(
                    f"record {record.get('id')!r} of {path} has {len(record['image'])} images and "
                    f"the answer {record['conversations'][-1]['value']!r}; expected 8 and a score"
                )
            found.append({**record, "hop": hop})
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise StoreError(
            f"{path} holds no pair records ({type(error).__name__}: {error})"
        ) from error
    return found
