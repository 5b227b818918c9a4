"""Runs a module of ours in a process that reaches only what it is given: the model host, the static scanners."""
