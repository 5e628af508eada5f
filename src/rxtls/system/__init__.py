"""What a command does with its operating system: files written whole, processes, signals."""
