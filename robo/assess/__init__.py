"""robo.assess."""
