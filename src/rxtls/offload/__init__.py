"""What host and NIC agreed on: commands and reports as values, receive-tag life, resynchronisation policies."""
