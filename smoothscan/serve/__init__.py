"""An HTTP server that scans what the registry announces: a trigger, never a guarantee, so that sweeps stay."""
