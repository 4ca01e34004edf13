"""robo.rewards."""
