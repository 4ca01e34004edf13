"""Pages of this machine: the reward explorer and what else a browser shows."""
