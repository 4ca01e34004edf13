"""robosuite's single-arm manipulation tasks: several views, fast rendering, exact seeds."""
