"""An HTTP server that scans what the registry announces."""
