"""What a driver can do wrong, one rule per file; plain numpy, no server."""
