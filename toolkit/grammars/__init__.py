"""Grammars you can compute with (Higuchi et al., arXiv 2504.17562; Allen-Zhu & Li, arXiv 2305.13673)."""
