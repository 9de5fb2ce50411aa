"""Every test runs with the package's shapes and types checked at run time.

The environment of the tests (threads, no network, no progress bars) is set in ``pyproject.toml``, so that the
notebooks' kernels inherit it too.
"""

import signal
import threading

import jaxtyping

# Must come before the first import of a toolkit module: the hook rewrites modules as they load.
# The tower: where a float is annotated an int will do, as PEP 484 says.
jaxtyping.install_import_hook("toolkit", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

# A job in the background of a shell ignores Ctrl-C, and so do its children; tests that interrupt must not depend on it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
