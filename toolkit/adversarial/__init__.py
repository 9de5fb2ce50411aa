"""Adversarial attacks, defences and their competition (Kurakin et al., arXiv 1804.00097)."""
