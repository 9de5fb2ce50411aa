"""Gradients through discrete variables."""
