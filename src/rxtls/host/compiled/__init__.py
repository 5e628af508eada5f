"""The host of a direction in its steady state, compiled: the fast twin of host/direction.py."""
