"""One of the processes that ``launch`` starts: ``python -m toolkit.autograd.distributed.worker FOLDER``."""

import faulthandler
import importlib
import operator
import os
import pickle
import shutil
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import torch.distributed as dist

from toolkit.autograd.distributed.failures import CommunicationError
from toolkit.autograd.distributed.groups import create_communicator, ended_well, join_through


def main(folder: Path) -> int:
    """Run the folder's task as the rank that the environment names, and leave a report beside it.

    Returns:
        The exit status: 0 if the function returned.
    """
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    task = pickle.loads((folder / "task").read_bytes())
    # Where it hangs, should it be stopped for being late.
    faulthandler.dump_traceback_later(max(0.5, task["timeout"] - 4.0))
    module, name = task["function"]
    options = task["options"]
    status = 1
    report: tuple[str, Any]
    try:
        function = operator.attrgetter(name)(importlib.import_module(module))
        with ended_well():
            if size > 1:
                store = dist.FileStore(str(folder / "store"), size)
                join_through(store, rank, size, options["name"], options["timeout"])
            else:
                # Not to be taken for a launcher's.
                del os.environ["RANK"], os.environ["WORLD_SIZE"]
            report = ("result", function(create_communicator(**options), *task["arguments"]))
        status = 0
    except CommunicationError as error:
        report = ("lost contact", f"{type(error).__name__}: {error}")
    except BaseException:
        report = ("error", traceback.format_exc())
    try:
        content = pickle.dumps(report)
    except Exception:
        status, content = 1, pickle.dumps(("error", traceback.format_exc()))
    beside = folder / f"unfinished-{rank}"
    beside.write_bytes(content)
    beside.replace(folder / f"report-{rank}")
    return status


def _end_with_parent(folder: Path) -> None:
    # The parent holds the other end of this pipe until it ends, however it ends. (Not by sys.stdin: its lock, held
    # here, would stop the interpreter where it closes its files.)
    while os.read(0, 1):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, args=(Path(sys.argv[1]),), daemon=True).start()
    sys.exit(main(Path(sys.argv[1])))
