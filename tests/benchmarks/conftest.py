"""Benchmarks measure the package as its users run it: without the run-time type checks of the other tests."""

import sys

sys.meta_path[:] = [finder for finder in sys.meta_path if not type(finder).__module__.startswith("jaxtyping")]
