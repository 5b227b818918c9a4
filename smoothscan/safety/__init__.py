"""Reads a model's files byte by byte and tells what loading them would run. Never loads them."""
