"""Driving in CARLA by its public client, and a stand-in server that speaks its protocol."""
