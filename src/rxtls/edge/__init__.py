"""The only code that opens a file, a socket, a clock or a dice."""
