"""`python -m rxtls` is the command."""

from rxtls.cli import main

main()
