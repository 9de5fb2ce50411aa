"""Attacks: frozen settings, one call ``attack(model, images, labels, epsilon=…, targets=…, generator=…)``."""
