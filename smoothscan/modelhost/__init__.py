"""The untrusted side: loads one model and answers two questions about it. Imported by nobody; run with python -m."""
