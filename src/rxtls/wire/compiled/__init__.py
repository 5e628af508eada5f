"""Captures walked and frames parsed, compiled: the fast twins of wire/."""
