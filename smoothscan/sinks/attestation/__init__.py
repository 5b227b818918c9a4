"""`attestation.json`: binds a verdict to the digests of a model's files, signed or not; and the check of one."""
