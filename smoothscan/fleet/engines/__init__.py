"""Who scans the models of a sweep: an interface, and one file for each engine."""
