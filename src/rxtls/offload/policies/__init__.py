"""Resynchronisation policies: small classes over one device interface."""
