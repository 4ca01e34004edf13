"""robo.perception."""
