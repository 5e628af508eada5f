"""Frames to Batch columns: parse, checksum, flow and generation, per-flow clock. Knows no keys and no receive tags."""
