"""Scripted experts for LIBERO's pick-and-place tasks, from privileged state."""
