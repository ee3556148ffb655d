"""Readers of what is run, trusted or privileged on a host without being asked again."""
