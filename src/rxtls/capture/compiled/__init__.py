"""The parts of capture/ that touch every frame, compiled."""
