"""The kernel: TCP reassembly, socket buffer, kTLS worker; and the handshake, where the TLS library stands."""
