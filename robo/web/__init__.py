"""Local web applications: pages and services on this machine."""
