"""Our own MuJoCo tasks: a Panda arm of primitive geoms that reaches, pushes and lifts."""
