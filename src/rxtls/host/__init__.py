"""The kernel: TCP reassembly, socket buffer, kTLS worker."""
