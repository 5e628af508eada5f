"""Bytes to values and back: captures, frame headers, TLS records, key logs. No state, no clock, no file."""
