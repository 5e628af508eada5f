"""Traffic that nobody captured: TLS senders, a bad link between two hosts, and what a tap would capture of it."""
