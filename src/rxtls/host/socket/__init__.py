"""The kTLS socket: what an application asks of one, and what it gets, by FreeBSD's names."""
