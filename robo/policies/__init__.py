"""robo.policies."""
