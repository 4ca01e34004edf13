"""Networks, advantage, PPO, behaviour cloning, checkpoints and the training loop."""
