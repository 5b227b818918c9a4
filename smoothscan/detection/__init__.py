"""Schedule, inversion and transfer: which perturbation moves images to a class, and does it generalise."""
