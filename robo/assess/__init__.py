"""How good is a reward, how good is a policy."""
