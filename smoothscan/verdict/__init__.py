"""Evidence -> verdict. Plain statistics, no torch."""
