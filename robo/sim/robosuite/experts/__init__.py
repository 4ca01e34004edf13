"""Scripted experts for robosuite's tasks, from privileged state."""
