"""AEAD over addresses, for compiled code, by the libcrypto that is there."""
