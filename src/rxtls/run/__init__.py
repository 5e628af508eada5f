"""One run over captures: replay, divided among jobs, its summary, and what is written of it besides tables."""
