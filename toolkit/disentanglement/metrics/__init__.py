"""Metrics of disentanglement: each a function of codes or points that returns a frozen result with a ``score``."""
