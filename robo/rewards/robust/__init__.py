"""Wrappers over any reward that make it harder to exploit; each file names its paper."""
