"""PPO on mujoco/Lift with any potential, watched for exploitation: what GRM studies share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from shaping_value import (
    ENVS,
    EVALUATE_EVERY,
    SELECTION_SEEDS,
    SOLVED,
    STEPS,
    STOP,
    TASK,
    Watch,
    report,
)


def train_lift(
    reward: Any, seed: int, total_steps: int, folder: Path, timeout: str = "keep"
) -> dict[str, Any]:
    """Train with ``reward`` and report on unseen seeds.

    Returns:
        As ``shaping_value.train_arm``, and ``steps_to_80``, the first evaluation with 80 % of the
        selection seeds.
    """
    from robo.policies.train_config import TrainConfig, lift_network, lift_ppo
    from robo.policies.trainer import Trainer
    from robo.sim.registry import make_vec

    config = TrainConfig(
        task=TASK,
        num_envs=ENVS,
        steps_per_rollout=STEPS,
        total_steps=total_steps,
        seed=seed,
        ppo=replace(lift_ppo(), timeout=timeout),  # type: ignore[arg-type]
        network=lift_network(),
        evaluate_every_steps=EVALUATE_EVERY,
        evaluate_seeds=SELECTION_SEEDS,
        stop_success=STOP,
        checkpoint_every_iterations=1_000_000,
    )
    watch = Watch()
    env, judge = (make_vec(TASK, count, threads=1) for count in (ENVS, 50))
    trainer = Trainer(config, env, reward, folder, judge, callbacks=[watch], show=False)
    try:
        result = trainer.run()
        watch.see(trainer.last_evaluation)
        final = report(Path(result["policy"]), judge)
    finally:
        trainer.close()
    curve = watch.curve()
    first = {
        share: next((entry["step"] for entry in curve if entry["success"] >= share), None)
        for share in (0.8, SOLVED)
    }
    return {
        "seed": seed,
        "steps": result["steps"],
        "steps_to_80": first[0.8],
        "steps_to_90": first[SOLVED],
        **final,
        "hacking": watch.hacking(),
        "reward_counts": result["reward_counts"],
        "curve": curve,
        "training": watch.rows,
    }
