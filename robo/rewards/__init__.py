"""Rewards: functions of whole rollouts, and the algebra that they are made of."""
