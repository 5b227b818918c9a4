"""ScanResult -> files, tags, run."""
