"""The parts of edge/ that touch every frame, compiled."""
