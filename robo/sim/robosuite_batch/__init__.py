"""robosuite's Lift for many environments at once: its scene and controller in native threads."""
