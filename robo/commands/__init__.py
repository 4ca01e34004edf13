"""Command lines: one module per command, imported only when that command is chosen."""
