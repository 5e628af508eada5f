"""ReceivePath: the hallway from frames to records, plain or compiled, and what comes out of it."""
