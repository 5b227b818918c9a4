"""Many models: which of a registry are due, who scans them, and what is known of each."""
