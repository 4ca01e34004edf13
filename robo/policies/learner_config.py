"""What may be chosen about the network and the learner, apart from torch.

Command lines read these without importing torch, so that ``--help`` comes at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from robo.errors import RoboError


@dataclass(frozen=True)
class NetworkConfig:
    """Which network, and its shape."""

    hidden: tuple[int, ...] = (64, 64)
    """mlp: width of each hidden layer."""
    activation: Literal["tanh", "relu", "elu"] = "tanh"
    """mlp: between layers; tanh has the fast path on a CPU."""
    initial_std: float = 1.0
    """Standard deviation of Gaussian actions before any learning, in action units."""
    kind: Literal["mlp", "carl", "carl_small", "carl_grid", "transformer", "vla"] = "mlp"
    """mlp: two networks that read the state. carl: CaRL's network, which reads images and state
    (256x256 pixels). carl_small: the same style for 64x64 pixels on a CPU. carl_grid: as small, but
    it keeps where things are. transformer: views and state, in chunks of actions. vla: a
    vision-language-action model of Hugging Face."""
    distribution: Literal["auto", "gaussian", "beta"] = "auto"
    """Of continuous actions. auto: gaussian for mlp; beta for carl kinds with bounded actions."""
    initial_action: tuple[float, ...] | None = None
    """beta: mean action before any learning, one number per dimension; None leaves the network's
    initial weights to decide, which is near the middle."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """carl kinds: arithmetic of the layers (autocast); parameters stay float32. bfloat16 falls back
    to float32 on processors that cannot multiply it (no AVX-512), where it is slower."""
    chunk: int = 1
    """transformer, vla: actions planned from one look; above 1 only in groups (--group-size)."""
    bins: int = 0
    """transformer: parts of each action dimension's range to choose from; 0: continuous actions.
    vla: number of action tokens (256)."""
    temperature: float = 1.0
    """Of binned actions, in acting and in learning (SRPO: 1.6)."""
    size: int = 64
    """transformer: width of its tokens, a multiple of 32."""
    depth: int = 2
    """transformer: its layers."""
    patch: int = 8
    """transformer: height and width of an image token, pixels."""
    source: str = ""
    """vla: folder of the model, or its id on the Hugging Face hub."""
    instruction: str = ""
    """vla: the task in words."""
    lora: int = 32
    """vla: rank of the adapters, which alone are trained."""

    def __post_init__(self) -> None:
        """Refuse numbers that no network has."""
        if min(self.hidden, default=1) < 1:
            raise RoboError(
                f"the network's hidden layers are {self.hidden}, expected at least 1 unit in each"
            )
        for name in ("initial_std", "temperature"):
            if not getattr(self, name) > 0:  # NaN is not
                raise RoboError(f"the network's {name} is {getattr(self, name)}, expected above 0")
        if min(self.chunk, self.depth, self.patch, self.lora) < 1 or self.bins < 0:
            raise RoboError(
                f"the network's chunk {self.chunk}, depth {self.depth}, patch {self.patch} and "
                f"lora {self.lora} must each be at least 1, and bins {self.bins} at least 0"
            )
        if self.chunk > 1 and self.kind not in ("transformer", "vla"):
            raise RoboError(
                f"network kind {self.kind!r} plans one action at a time: leave --network.chunk at 1"
            )
        if self.kind == "transformer" and (self.size < 32 or self.size % 32):
            raise RoboError(f"the transformer's size is {self.size}, expected a multiple of 32")
        if self.kind == "vla" and (not self.source or self.bins < 2):
            raise RoboError(
                "network kind 'vla' needs the folder or id of a model and its number of action "
                "tokens: set --network.source and --network.bins 256"
            )


@dataclass(frozen=True)
class PPOConfig:
    """How a rollout becomes a better policy."""

    learning_rate: float = 3e-4
    """Adam's step size."""
    critic_learning_rate: float | None = None
    """That of the critic, where it differs: a cloned policy with little noise moves far by small
    steps, and its critic begins with nothing; mlp only. It follows the schedule and the scaling."""
    learning_rate_schedule: Literal["constant", "linear", "kl_adaptive"] = "constant"
    """linear: falls to 0 with the progress that remains. kl_adaptive: a minibatch beyond target_kl
    ends the update, and the 8th such update halves the rate (Roach)."""
    learning_rate_scaling: Literal["none", "linear", "sqrt"] = "none"
    """How the rate grows with minibatch_size over reference_minibatch_size."""
    reference_minibatch_size: int = 256
    """Minibatch for which learning_rate holds where it is scaled."""
    epochs: int = 10
    """Passes over each rollout."""
    minibatch_size: int = 64
    """Steps per gradient, drawn from all environments, times and ranks alike."""
    chunk_size: int = 256
    """Images per forward and backward pass; gradients of a minibatch add up over chunks."""
    gamma: float = 0.99
    """Discount per step, in [0, 1]; a reward with its own discount must agree."""
    gae_lambda: float = 0.95
    """Lambda of generalised advantage estimation, in [0, 1]."""
    clip_range: float = 0.2
    """Probability ratios count up to 1 ± this."""
    value_clip: float | None = None
    """The value may move by this much per rollout; None for no limit."""
    value_coefficient: float = 0.5
    """Weight of the squared value error."""
    critic_warm_up: int = 0
    """Updates at the start in which the critic alone learns, so that a policy that was cloned is
    not spoiled by advantages of a critic that knows nothing; mlp only, gae only."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus."""
    exploration_coefficient: float = 0.0
    """carl kinds: weight of Roach's exploration loss (Roach: 0.05), which draws the steps before an
    infraction that ended the episode towards braking, driving on, or steering anyhow; it falls to 0
    with the progress that remains."""
    exploration_steps: int = 100
    """Steps before an infraction that it draws (Roach: 100, 10 s)."""
    max_gradient_norm: float = 0.5
    """Gradients longer than this are scaled down to it."""
    target_kl: float | None = None
    """The update stops before a step whose minibatch has moved by 1.5 times this; None: never."""
    normalise_advantage: bool = True
    """Zero mean and unit standard deviation per minibatch."""
    normalise_observation: bool = True
    """Learn the running mean and variance that the policy normalises observations by."""
    advantage: Literal["gae", "group"] = "gae"
    """gae: by a critic. group: each episode against the others of its group, which share task and
    initial state (GRPO, SRPO): no critic, no discount; needs --group-size."""
    clip_range_high: float | None = None
    """Probability ratios count up to 1 + this, where it differs from clip_range (SRPO: 0.28)."""
    reference_kl: float = 0.0
    """Weight of KL(policy || the policy that training began with) per step."""
    group_success: tuple[float, float] = (0.0, 1.0)
    """group: groups whose share of successes is outside are left out (SRPO's code: 0.1 0.9); those
    in which all rewards are equal always are."""
    timeout: Literal["bootstrap", "keep"] = "bootstrap"
    """bootstrap: a time-out is no end of the task, V of its last state counts. keep: it ends the
    finite-horizon task, and shaping keeps its potential (not policy-invariant)."""
    adam_epsilon: float = 1e-5
    """Adam's epsilon."""
    implementation: Literal["auto", "numpy", "torch"] = "auto"
    """numpy: hand-written gradients for tanh networks on a CPU; auto: that where it can."""
    compile: bool = False
    """torch.compile the loss and image policies' acting (CUDA graphs on a GPU); costs a minute."""

    def __post_init__(self) -> None:
        """Refuse numbers that no run can use."""
        positive = ("clip_range", "max_gradient_norm", "adam_epsilon")
        limits = ("target_kl", "value_clip", "clip_range_high")
        given = [name for name in limits if getattr(self, name) is not None]
        for name in (*positive, *given):
            if not getattr(self, name) > 0:  # NaN is not
                raise RoboError(f"PPO's {name} is {getattr(self, name)}, expected above 0")
        weights = ("value_coefficient", "entropy_coefficient", "reference_kl")
        for name in ("learning_rate", *weights):
            if not getattr(self, name) >= 0:
                raise RoboError(f"PPO's {name} is {getattr(self, name)}, expected at least 0")
        for name in ("gamma", "gae_lambda"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise RoboError(f"PPO's {name} is {getattr(self, name)}, expected 0 to 1")
        counts = ("epochs", "minibatch_size", "chunk_size", "reference_minibatch_size")
        for name in (*counts, "exploration_steps"):
            if getattr(self, name) < 1:
                raise RoboError(f"PPO's {name} is {getattr(self, name)}, expected at least 1")
        if self.critic_learning_rate is not None and not (
            self.critic_learning_rate > 0 and self.learning_rate > 0
        ):
            raise RoboError(
                f"PPO's critic_learning_rate is {self.critic_learning_rate} beside a learning_rate "
                f"of {self.learning_rate}, expected both above 0; leave it out for one rate"
            )
        if self.critic_warm_up < 0:
            raise RoboError(
                f"PPO's critic_warm_up is {self.critic_warm_up}, expected at least 0 updates"
            )
        if self.critic_warm_up > 0 and (self.advantage == "group" or self.entropy_coefficient > 0):
            raise RoboError(
                "PPO's critic_warm_up holds the policy still, which neither group advantages (they "
                "have no critic) nor an entropy bonus do: set --ppo.critic-warm-up 0"
            )
        if self.exploration_coefficient < 0:
            raise RoboError(
                f"PPO's exploration_coefficient is {self.exploration_coefficient}, expected at "
                "least 0"
            )
        if self.reference_kl > 0 and self.normalise_observation:
            raise RoboError(
                "PPO's reference_kl compares policies that read the same inputs: set "
                "--ppo.no-normalise-observation"
            )
        if self.learning_rate_schedule == "kl_adaptive" and self.target_kl is None:
            raise RoboError(
                "PPO's kl_adaptive schedule needs a target_kl: set --ppo.target-kl (Roach: 0.015)"
            )

    @property
    def needs_torch(self) -> bool:
        """Whether the loss has a part that the hand-written gradients lack."""
        return (
            self.advantage == "group" or self.clip_range_high is not None or self.reference_kl > 0
        )
