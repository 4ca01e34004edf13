"""Our server that speaks CARLA 0.9.16's wire protocol; nothing it yields is a CARLA result."""
