"""Holding: the newest known potential at every state of a rollout, whatever the cuts.

A potential is known only where a camera frame was rendered. Between two frames it is *held*,
never interpolated, because interpolation would look ahead. Episodes that stay open across
rollouts are continued by a :class:`PotentialCarry`, so that where a rollout is cut changes no
number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robo.errors import RoboError
from robo.rollout import Rollout


class PotentialError(RoboError, ValueError):
    """A rollout that lacks what a potential reads, or does not fit its open episodes."""


@dataclass
class PotentialTrack:
    """Potentials of all states of one rollout."""

    at_state: Tensor
    """float ``[T+1, N]``, held potential at s_0 ... s_T (after autoreset), in [0, 1]."""
    at_final: Tensor
    """float ``[K]``, of the rows of ``rollout.final_observation``, in the same order."""
    age: Tensor
    """int64 ``[T+1, N]``, steps since the frame that the held potential comes from."""
    age_final: Tensor
    """int64 ``[K]``, the same for the final rows; 0 where the final frame was seen."""

    def of_next_state(self, rollout: Rollout) -> Tensor:
        """Potential of the true next states, ``[T, N]``: the final row's at an episode's end."""
        return rollout.of_next_state(self.at_state, self.at_final)

    def critic_features(self, stride: int) -> tuple[Tensor, Tensor]:
        """What the critic must know, since a held potential depends on the path.

        Args:
            stride: steps between two frames, at least 1.

        Returns:
            ``[T+1, N, 2]`` and ``[K, 2]``, float32: the held potential, and the steps since
            its frame divided by the stride, in [0, 1].
        """
        pairs = ((self.at_state, self.age), (self.at_final, self.age_final))
        current, final = (
            torch.stack((value.float(), (age.float() / stride).clamp(0, 1)), dim=-1)
            for value, age in pairs
        )
        return current, final


@dataclass
class PotentialCarry:
    """Held potential of the episodes that stay open at a rollout's end, one per environment."""

    episode: Tensor
    """int64 ``[N]``, id of the open episode; -1 where it is not known yet."""
    value: Tensor
    """float ``[N]``, held potential at s_T."""
    age: Tensor
    """int64 ``[N]``, steps since the frame of ``value``."""

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of the three tensors by name."""
        return {
            "episode": self.episode.clone(),
            "value": self.value.clone(),
            "age": self.age.clone(),
        }

    @staticmethod
    def from_state_dict(state: Mapping[str, Tensor]) -> PotentialCarry:
        """Build again what :meth:`state_dict` returned."""
        return PotentialCarry(
            state["episode"].clone(), state["value"].clone(), state["age"].clone()
        )


def hold(
    rollout: Rollout, row_value: Tensor, carry: PotentialCarry | None = None
) -> tuple[PotentialTrack, PotentialCarry]:
    """Hold the potentials of frame rows until the next row of the same episode.

    A row counts where its episode is the current one; NaN means "not known" and is held over.
    Where the carry holds an open episode, its rows at step 0 are ignored: they were the rows at
    step T of the rollout before, and both rollouts must see the same value. An episode without
    a row at its start begins at potential 0.

    Args:
        rollout: with ``frames`` of M rows, steps 0 ... T.
        row_value: float ``[M]``, potential of each row.
        carry: what the previous call returned; None where every episode starts at step 0.

    Returns:
        The track of this rollout, in the dtype of ``row_value`` and on the rollout's device,
        and the carry for the next one.

    Raises:
        PotentialError: the rollout has no frames, ``row_value`` is not ``[M]``, or the carry
            has another number of environments.
    """
    frames = rollout.frames
    if frames is None:
        raise PotentialError(
            "the rollout has no camera frames, but the potential reads them: set the "
            "environment's camera schedule to the reward's"
        )
    if tuple(row_value.shape) != (len(frames),):
        raise PotentialError(
            f"row values have shape {tuple(row_value.shape)}, expected one per frame row, "
            f"{(len(frames),)}"
        )
    steps, envs = rollout.shape
    device = rollout.episode.device
    row_value = row_value.detach().to(device)
    step, env, episode, final = (
        part.to(device) for part in (frames.step, frames.env, frames.episode, frames.final)
    )
    # The episode of s_T after a reset has no step yet: only its first frame row names it.
    opened = torch.full((envs,), -1, dtype=torch.int64, device=device)
    first = ~final & (step == steps)
    opened[env[first]] = episode[first]
    ended = rollout.done
    current = torch.cat(
        (rollout.episode, torch.where(ended[-1], opened, rollout.episode[-1])[None])
    )
    known = row_value.new_full((steps + 1, envs), torch.nan)
    plain = ~final & (episode == current[step, env])
    known[step[plain], env[plain]] = row_value[plain]
    known_final = row_value.new_full((steps, envs), torch.nan)
    before = (step - 1).clamp(min=0)
    last = final & (step > 0) & ended[before, env] & (episode == rollout.episode[before, env])
    known_final[before[last], env[last]] = row_value[last]
    return hold_known(rollout, known, known_final, current[-1], carry)


def episode_starts(rollout: Rollout, open_episode: Tensor | None) -> Tensor:
    """Where episodes begin.

    Args:
        rollout: T steps of N environments.
        open_episode: int64 ``[N]``, ids of the episodes open before the rollout; None for none.

    Returns:
        bool ``[T+1, N]``: s_t is the first state of its episode.

    Raises:
        PotentialError: ``open_episode`` is of another number of environments.
    """
    if open_episode is None:
        first = torch.ones_like(rollout.done[:1])
    elif tuple(open_episode.shape) != (rollout.shape[1],):
        raise PotentialError(
            f"the open episodes are of {open_episode.numel()} environments, but the "
            f"rollout has {rollout.shape[1]}: resume with the number that was saved"
        )
    else:
        first = (open_episode.to(rollout.episode.device) != rollout.episode[0])[None]
    return torch.cat((first, rollout.done))


def hold_known(
    rollout: Rollout,
    known: Tensor,
    known_final: Tensor,
    open_episode: Tensor,
    carry: PotentialCarry | None,
) -> tuple[PotentialTrack, PotentialCarry]:
    """Hold known values over the gaps between them; the dense form of :func:`hold`.

    Args:
        rollout: T steps of N environments.
        known: float ``[T+1, N]``, of s_t; NaN where nothing is known.
        known_final: float ``[T, N]``, of the state in which the episode of step t ended; NaN
            where nothing is known.
        open_episode: int64 ``[N]``, the episode of s_T; -1 where it is not known yet.
        carry: what the previous call returned; None where every episode starts at step 0.

    Returns:
        The track of this rollout and the carry for the next one.

    Raises:
        PotentialError: the carry has another number of environments.
    """
    starts = episode_starts(rollout, None if carry is None else carry.episode)
    first, first_age = known[0], torch.zeros_like(rollout.episode[0])
    if carry is not None:
        first = torch.where(starts[0], first, carry.value.to(first))
        first_age = torch.where(starts[0], first_age, carry.age.to(first_age))
    known = torch.cat((first[None], known[1:]))
    known = torch.where(starts & known.isnan(), torch.zeros_like(known), known)
    time = torch.arange(known.shape[0], device=known.device)[:, None].expand(known.shape)
    newest = torch.where(known.isnan(), torch.zeros_like(time), time).cummax(dim=0).values
    at_state = known.gather(0, newest)
    age = time - newest + torch.where(newest == 0, first_age, torch.zeros_like(first_age))
    step, env = rollout.final_observation.step, rollout.final_observation.env
    seen = known_final[step, env]
    at_final = torch.where(seen.isnan(), at_state[step, env], seen)
    age_final = torch.where(seen.isnan(), age[step, env] + 1, torch.zeros_like(step))
    following = PotentialCarry(open_episode.clone(), at_state[-1].clone(), age[-1].clone())
    return PotentialTrack(at_state, at_final, age, age_final), following
