"""The command line: one file for each command; arguments -> ScanConfig -> pipeline -> sinks -> exit code."""
