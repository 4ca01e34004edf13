"""Settings of rewards that compare camera frames with sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from robo.errors import RoboError
from robo.perception.clip_config import ClipConfig, ImageSource

POSITIVE = "The road is clear with no car accidents"
"""VLM-RL's positive goal."""
NEGATIVE = "Two cars have collided with each other on the road"
"""VLM-RL's negative goal."""
SAFE, CAR = "A car is driving safely", "A car"
"""VLM-RM's goal and its baseline."""
SUCCESS_SIMILARITY = 0.32
"""VLM-SR's threshold."""
LORD_SPEED = 20.0
"""km/h that LORD-Speed wants."""


class LanguageGoalError(RoboError, ValueError):
    """Settings of a language goal that contradict each other or are out of range."""


@dataclass(frozen=True)
class Contrast:
    """Weights and bounds of the contrast of a positive and a negative goal."""

    alpha: float = 1.0
    """Weight of the similarity to the positive goal."""
    beta: float = 1.0
    """Weight of the similarity to the negative goal."""
    lower: float = -0.03
    """Weighted difference that counts 0, and everything below it."""
    upper: float = 0.0
    """Weighted difference that counts 1, and everything above it."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        values = (self.alpha, self.beta, self.lower, self.upper)
        if not all(math.isfinite(value) for value in values) or self.lower >= self.upper:
            raise LanguageGoalError(
                f"contrast bounds are lower {self.lower} and upper {self.upper}, weights alpha "
                f"{self.alpha} and beta {self.beta}: expected finite numbers, lower below upper"
            )


PRESETS = {
    "released": Contrast(),
    "general": Contrast(alpha=0.5, beta=0.5, lower=-0.015, upper=0.0),
}
"""released: the code's literals; general: the paper's form with weights that sum to 1, and bounds
that give the same numbers. The paper's own bounds are not known to us."""


@dataclass(frozen=True)
class LanguageGoalConfig:
    """Goals in words, the model that compares them with frames, and what is made of it."""

    clip: ClipConfig = field(default_factory=ClipConfig)
    """The image-text model."""
    image: ImageSource = field(default_factory=ImageSource)
    """What it sees."""
    positive: tuple[str, ...] = ()
    """Goals, paraphrases of one divided by "|"; none takes VLM-RL's for driving."""
    negative: tuple[str, ...] = ()
    """Their opposites, in the same order and number."""
    weights: tuple[float, ...] = ()
    """One weight per pair; none weighs all the same. Not used by combine min."""
    combine: Literal["mean", "min"] = "mean"
    """Several pairs: the weighted mean of their contrasts, or the worst one."""
    preset: Literal["released", "general", "fitted"] = "released"
    """Weights and bounds of the contrast: the code's, the paper's form, or those that robo fit
    clip found for its model."""
    alpha: float | None = None
    """Weight of the positive goal in place of the preset's."""
    beta: float | None = None
    """Weight of the negative goal in place of the preset's."""
    lower: float | None = None
    """Lower bound in place of the preset's."""
    upper: float | None = None
    """Upper bound in place of the preset's."""
    success_similarity: float = SUCCESS_SIMILARITY
    """Kind vlm_sr: similarity to the goal above which 1 is paid; 0.32 is made for ViT-bigG-14."""
    regularisation: float = 0.5
    """Kind vlm_rm: strength of its goal-baseline regularisation, in [0, 1]."""
    lord_speed: float = LORD_SPEED
    """Kind lord_speed: km/h that it wants."""
    form: Literal["driving", "manipulation"] = "driving"
    """driving: the contrast sets the desired speed (VLM-RL); manipulation: contrast plus a state
    term."""
    target_speed: float = 25.0
    """Driving: km/h where the contrast is 1."""
    max_center_distance: float = 3.0
    """Driving: m from the route at which nothing is paid."""
    max_heading_error: float = math.pi / 2
    """Driving: rad from the route's direction at which nothing is paid."""
    max_center_std: float = 0.4
    """Driving: m, standard deviation of the newest distances at which nothing is paid."""
    center_window: int = 30
    """Driving: how many of the newest distances that is taken over."""
    terminal_reward: float = -10.0
    """Driving: the reward of a step that ends the episode by a failure."""
    state_term: str = ""
    """Manipulation: what is added: success, environment, or the name of a signal; empty adds
    nothing."""
    state_weight: float = 1.0
    """Manipulation: multiplies the state term."""

    def __post_init__(self) -> None:
        """Refuse values out of range; an explicit pair of goals must be whole."""
        if any(not goal.strip(" |") for goal in (*self.positive, *self.negative)):
            raise LanguageGoalError(
                f"a goal is empty (positive {list(self.positive)}, negative "
                f"{list(self.negative)}): describe each in words"
            )
        if self.weights and not (min(self.weights) >= 0 and sum(self.weights) > 0):
            raise LanguageGoalError(
                f"weights {self.weights} of goal pairs: expected none below 0, and one above"
            )
        if not 0 <= self.regularisation <= 1:
            raise LanguageGoalError(
                f"regularisation is {self.regularisation}, expected a value in [0, 1]"
            )
        if not -1 <= self.success_similarity <= 1:
            raise LanguageGoalError(
                f"success_similarity is {self.success_similarity}, expected a cosine in [-1, 1]"
            )
        limits = (
            "lord_speed",
            "target_speed",
            "max_center_distance",
            "max_heading_error",
            "max_center_std",
        )
        for name in limits:
            if not getattr(self, name) > 0:
                raise LanguageGoalError(f"{name} is {getattr(self, name)}, expected more than 0")
        if self.center_window < 1:
            raise LanguageGoalError(
                f"center_window is {self.center_window}, expected at least 1 step"
            )

    @property
    def view(self) -> str:
        """The camera role that is looked at."""
        return self.image.view or ("bird" if self.form == "driving" else "front")

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(positive, negative) of each pair.

        Raises:
            LanguageGoalError: not as many of each, or weights of another number.
        """
        positive, negative = self.positive, self.negative
        if not positive and not negative:
            if self.form != "driving":
                raise LanguageGoalError(
                    "no goals are given: say with positive and negative what a solved and an "
                    "unsolved state look like"
                )
            positive, negative = (POSITIVE,), (NEGATIVE,)
        if len(positive) != len(negative):
            raise LanguageGoalError(
                f"{len(positive)} positive and {len(negative)} negative goals are given, expected "
                "as many of each: they are paired in order"
            )
        if self.weights and len(self.weights) != len(positive):
            raise LanguageGoalError(
                f"{len(self.weights)} weights are given for {len(positive)} goal pairs"
            )
        return tuple(zip(positive, negative, strict=True))

    def contrast(self, fitted: Contrast | None = None) -> Contrast:
        """Weights and bounds, with what is given in place of the preset's.

        Args:
            fitted: what the model's folder says, for the preset ``fitted``.

        Raises:
            LanguageGoalError: preset ``fitted`` with a model that says nothing; bad bounds.
        """
        base = fitted if self.preset == "fitted" else PRESETS[self.preset]
        if base is None:
            raise LanguageGoalError(
                f"preset is 'fitted' but {self.clip.model} says no bounds: use a folder that robo "
                "fit clip wrote, or give lower and upper"
            )
        given = {name: getattr(self, name) for name in ("alpha", "beta", "lower", "upper")}
        changed = {name: value for name, value in given.items() if value is not None}
        return Contrast(**{**vars(base), **changed})
