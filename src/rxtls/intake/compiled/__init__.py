"""Packets to rows, compiled: the fast twin of intake/steer.py."""
