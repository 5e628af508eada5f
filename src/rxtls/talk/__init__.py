"""What was said: the plaintext of connections in the order in which it was complete, as people read it."""
