"""Simulators behind one gymnasium contract."""
