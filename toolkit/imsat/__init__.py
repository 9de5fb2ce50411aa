"""IMSAT: clusters and hash codes from information maximisation and self-augmented training."""
