"""Policies on a real arm, or a simulated one in real time: safety, trials, records, reports."""
