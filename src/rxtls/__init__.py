"""rxtls: the TLS receive-offload path in user space."""
