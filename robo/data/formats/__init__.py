"""Data sets of others: robomimic and LIBERO HDF5, LeRobot v3, folders of videos."""
