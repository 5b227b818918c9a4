"""The classifier as the scanner sees it: in this process, or in a process of its own."""
