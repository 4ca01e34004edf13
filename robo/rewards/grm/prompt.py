"""The question that a vision-language reward model is asked, as text with places for images.

Our own wording, in the structure of Robo-Dopamine's prompt (arXiv 2512.23703, figure 8): role and
job, task with its two reference images, three BEFORE views, three AFTER views, how to measure,
what to look at, how to answer. A checkpoint that was trained on another wording is given it by a
prompt file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robo.errors import RoboError

IMAGE = "<image>"
"""Place of one of the eight images, in order."""
INSTRUCTION = "{instruction}"
"""Place of the task's words; ``{task}`` is understood too."""
IMAGES = 8

DEFAULT = """\
You judge how far a robot has come in a manipulation task. Compare two moments of one attempt, \
BEFORE and AFTER, and say how much closer to the task's goal the robot is at AFTER. The two \
reference images only fix the scale: where such a task starts, and where it ends.

<Task>
{instruction}
REFERENCE START (front view): <image>
REFERENCE GOAL (front view): <image>
</Task>

BEFORE, front view: <image>
BEFORE, left wrist view: <image>
BEFORE, right wrist view: <image>

AFTER, front view: <image>
AFTER, left wrist view: <image>
AFTER, right wrist view: <image>

Goal: one signed percentage for the change from BEFORE to AFTER.

How to measure:
- Let progress be 0 at REFERENCE START and 1 at REFERENCE GOAL.
- If AFTER is further than BEFORE, answer the share of the REMAINING way that was won: positive.
- If AFTER is behind BEFORE, answer the share of the way ALREADY MADE that was lost: negative.
- Stay between -100% and +100%, in whole percents.

What counts:
- Only changes that the task asks for; a step must be done properly to count as done.
- The front view shows the layout. The wrist views show contact and grasp, and overrule the front \
view there. One view that clearly shows a failure decides.
- Ignore lighting and background. If nothing that matters has changed, or you cannot tell, answer \
0%.

Answer with one line and nothing else, in one of these forms:
<score>+NN%</score>
<score>-NN%</score>
<score>0%</score>"""


@dataclass(frozen=True)
class Prompt:
    """A wording with the places of eight images and of the instruction."""

    text: str = DEFAULT
    """The wording; ``<image>`` eight times, ``{instruction}`` or ``{task}`` at least once."""

    def __post_init__(self) -> None:
        """Refuse a wording in which the model would not see everything."""
        found = self.text.count(IMAGE)
        if found != IMAGES:
            raise RoboError(
                f"the prompt has {found} places {IMAGE}, expected {IMAGES}: start, goal, three of "
                "BEFORE, three of AFTER; mend the prompt file"
            )
        if INSTRUCTION not in self.text and "{task}" not in self.text:
            raise RoboError(
                f"the prompt has no place {INSTRUCTION} for the task's words; mend the prompt file"
            )

    @classmethod
    def read(cls, path: Path | None) -> Prompt:
        """The wording in a text file, or our own where ``path`` is None.

        Raises:
            RoboError: a file that cannot be read, or lacks a place.
        """
        if path is None:
            return cls()
        try:
            return cls(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise RoboError(
                f"cannot read the prompt file {path} ({error}); check its path"
            ) from error

    def pieces(self, instruction: str) -> list[str]:
        """Nine pieces of text, between which the eight images stand.

        Instructions that hold the mark of an image are shown without it.
        """
        words = instruction.replace(IMAGE, "").strip() or "complete the task"
        text = self.text.replace(INSTRUCTION, words).replace("{task}", words)
        return text.split(IMAGE)
