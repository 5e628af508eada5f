"""The handshake, where the TLS library stands: what it reads of hellos and messages, and the keys it comes to."""
