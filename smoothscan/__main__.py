"""Lets `python -m smoothscan` do what `smoothscan` does."""

from smoothscan.cli.main import main

main()
