"""What people do with a run."""
