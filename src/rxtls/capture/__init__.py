"""Captures as a person names them, read: files, pipes, compressed, in pieces, out of order; and frames out to one."""
