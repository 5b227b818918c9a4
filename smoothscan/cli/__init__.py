"""The command line: one file per command, arguments -> ScanConfig -> pipeline -> sinks -> exit code."""
