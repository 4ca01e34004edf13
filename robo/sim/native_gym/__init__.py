"""Gymnasium's own environments, N at a time without Python per environment, equal bit for bit."""
