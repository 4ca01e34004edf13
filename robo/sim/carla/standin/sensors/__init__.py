"""Sensors of the stand-in server: flat-shaded cameras, lidar, GNSS and IMU of the box world."""
