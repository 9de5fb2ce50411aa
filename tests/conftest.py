"""Every test runs with the package's shapes and types checked at run time.

The environment of the tests (threads, no network, no progress bars) is set in ``pyproject.toml``, so that the
notebooks' kernels inherit it too.
"""

import jaxtyping

# Must come before the first import of a toolkit module: the hook rewrites modules as they load.
jaxtyping.install_import_hook("toolkit", "beartype.beartype")
