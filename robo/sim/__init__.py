"""robo.sim."""
