"""Submissions that break the rules in processes of their own: each ends as the rules say and leaves nothing behind."""

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.adversarial.competition import entries
from toolkit.adversarial.competition import Competition, Isolation
from toolkit.adversarial.competition.games import running
from toolkit.adversarial.competition.isolation import Outcome
from toolkit.adversarial.competition.submissions import Submission, Task

IMAGES = torch.arange(4 * 9, dtype=torch.uint8).mul(7).view(4, 1, 3, 3)
LIMIT = 20.0


@pytest.fixture(scope="module")
def isolation() -> Iterator[Isolation]:
    with Isolation() as opened:
        yield opened


def run(isolation: Isolation | None, function: Callable, limit: float = LIMIT, track: str = "non-targeted") -> Outcome:
    task = Task(IMAGES, None if track == "defence" else 8, None, 5)
    with running(Submission("x", function, track), isolation, limit) as play:
        return play(task)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def indices(outcome: Outcome, kind: str) -> list[int]:
    return sorted(index for piece in outcome.pieces if piece.kind == kind for index in piece.indices)


@pytest.mark.parametrize(
    ("function", "verdict", "reason"),
    [
        (entries.raises, "error", "RuntimeError: no luck"),
        (entries.leaves, "error", "SystemExit: 0"),
        (entries.recursion, "error", "RecursionError"),
        (entries.out_of_memory, "error", "MemoryError"),
        (entries.fails_after_two, "error", "ValueError: the third is too hard"),
    ],
)
def test_an_exception_ends_a_batch_and_nothing_of_it_counts(
    isolation: Isolation, function: Callable, verdict: str, reason: str
) -> None:
    for where in (isolation, None):
        found = run(where, function)
        assert (found.verdict, found.pieces) == (verdict, ())
        assert found.reason.startswith(reason)
        assert "\n" not in found.reason


@pytest.mark.parametrize(
    ("function", "reason"), [(entries.exits, "exited with status 3"), (entries.segfault, "ended by SIGSEGV")]
)
def test_a_crash_ends_a_batch(isolation: Isolation, function: Callable, reason: str) -> None:
    found = run(isolation, function)
    assert (found.verdict, found.pieces) == ("crash", ())
    assert reason in found.reason


@pytest.mark.parametrize("function", [entries.hangs, entries.sleeps])
def test_a_time_out_ends_a_batch(isolation: Isolation, function: Callable) -> None:
    found = run(isolation, function, limit=0.3)
    assert (found.verdict, found.pieces) == ("time-out", ())
    assert "0.3 s" in found.reason


def test_what_was_given_before_a_time_out_counts(isolation: Isolation) -> None:
    found = run(isolation, entries.sleeps_after_two, limit=3)
    assert found.verdict == "time-out"
    assert indices(found, "images") == [0, 1]


def test_rubbish_on_the_connection_is_no_output(isolation: Isolation) -> None:
    assert run(isolation, entries.talks_rubbish, limit=5).verdict in ("crash", "time-out")
    assert run(isolation, entries.copy).verdict == "ok"


def test_a_worker_is_started_again_after_a_time_out_or_crash(isolation: Isolation) -> None:
    def moody(images, epsilon):
        if epsilon < 0.02:
            os._exit(1)
        return images

    with isolation.worker(moody) as worker:
        for epsilon, verdict in ((4, "crash"), (8, "ok"), (4, "crash"), (8, "ok")):
            assert worker.run("non-targeted", Task(IMAGES, epsilon, None, 0), LIMIT).verdict == verdict


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
@pytest.mark.parametrize("then", ["sleep", "exit"])
def test_children_end_with_their_submission(isolation: Isolation, tmp_path: Path, then: str) -> None:
    path = tmp_path / "pids"
    found = run(isolation, entries.LeavesChildren(str(path), then), limit=5)
    assert found.verdict == ("crash" if then == "exit" else "time-out")
    pids = [int(pid) for pid in path.read_text().split()]
    assert len(pids) == 3
    assert wait_until(lambda: not any(map(alive, pids)))


def test_a_child_that_returns_too_is_not_heard(isolation: Isolation) -> None:
    with isolation.worker(entries.forks_and_returns) as worker:
        for level in range(20):
            images = torch.full_like(IMAGES, level)
            found = worker.run("non-targeted", Task(images, 8, None, 5), LIMIT)
            assert found.verdict == "ok"
            (piece,) = found.pieces
            assert torch.equal(piece.values, images)


def test_what_cannot_be_sent_says_so(isolation: Isolation) -> None:
    lock = threading.Lock()
    found = run(isolation, lambda images, epsilon: images if lock.locked() else None)
    assert found.verdict == "error"
    assert "cannot be sent" in found.reason


def test_what_does_not_load_says_so(isolation: Isolation) -> None:
    class Bomb:
        def __reduce__(self):
            return (partial(int, "bomb"), ())

        def __call__(self, images, epsilon):
            return images

    found = run(isolation, Bomb())
    assert found.verdict == "error"
    assert "does not load" in found.reason
    assert "ValueError" in found.reason


def test_functions_of_a_module_that_the_process_cannot_import_travel_by_value(
    isolation: Isolation, tmp_path: Path
) -> None:
    path = tmp_path / "nowhere_to_be_found.py"
    path.write_text(
        "shade = 0.25\ndef deeper(x):\n    return x + shade\ndef attack(x, epsilon):\n    return deeper(x)\n"
    )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        found = run(isolation, module.attack)
    finally:
        del sys.modules[path.stem]
    assert (found.verdict, indices(found, "images")) == ("ok", [0, 1, 2, 3])


def test_nothing_is_remembered_from_batch_to_batch(isolation: Isolation) -> None:
    seen: list[int] = []

    def forgetful(images):
        seen.append(1)
        return [len(seen)] * len(images)

    with isolation.worker(forgetful) as worker:
        for _ in range(3):
            found = worker.run("defence", Task(IMAGES, None, None, 0), LIMIT)
            assert found.pieces[0].values is not None
            assert found.pieces[0].values.tolist() == [1] * 4
    assert seen == []


def test_models_travel_with_their_weights(isolation: Isolation) -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 10))
    found = run(isolation, lambda images: model(images).argmax(1), track="defence")
    assert found.pieces[0].values is not None
    assert torch.equal(found.pieces[0].values, model(IMAGES / 255).argmax(1))


def test_a_script_without_a_guard_is_not_run_again(tmp_path: Path) -> None:
    """And Isolation works where functions live in ``__main__``, as in a notebook."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import torch
            from toolkit.adversarial.competition import Competition
            print("run")
            shade = 3
            def darken(images, epsilon):
                return images - epsilon * shade
            images = torch.full((4, 1, 2, 2), 100, dtype=torch.uint8)
            competition = Competition([darken], (), {"zero": lambda images: [0] * len(images)}, epsilons=(7,), n_jobs=2)
            found = competition.run(images, torch.zeros(4, dtype=torch.int64))
            print(competition.crafted("darken").images.unique().tolist(), found.correct.tolist())
            """
        )
    )
    found = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment(), timeout=120)
    assert found.stdout.split("\n")[:2] == ["run", "[93] [[4]]"], found.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_an_interrupted_or_killed_run(tmp_path: Path, number: int) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import signal, sys, torch
            signal.signal(signal.SIGINT, signal.default_int_handler)
            from toolkit.adversarial.competition import Competition
            from tests.adversarial.competition.entries import LeavesChildren
            images = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
            attacks = {name: LeavesChildren(path) for name, path in zip("ab", sys.argv[1:])}
            Competition(attacks, n_jobs=2).run(images, torch.zeros(4, dtype=torch.int64))
            """
        )
    )
    paths = [tmp_path / name for name in "ab"]
    process = subprocess.Popen([sys.executable, script, *paths], env=environment(), stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: all(path.exists() and path.read_text() for path in paths), 60)
        pids = [int(pid) for path in paths for pid in path.read_text().split()]
        assert all(map(alive, pids))
        process.send_signal(number)
        process.wait(30)
        assert process.returncode != 0
        assert wait_until(lambda: not any(map(alive, pids)))
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_nothing_is_left_when_isolation_closes() -> None:
    def children() -> set[str]:
        return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}

    before, descriptors = children(), len(os.listdir("/proc/self/fd"))
    with Isolation() as opened:
        assert run(opened, entries.copy).verdict == "ok"
        assert run(opened, entries.exits).verdict == "crash"
        assert children() - before
    assert children() - before == set()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    with pytest.raises(RuntimeError, match="closed"):
        run(opened, entries.copy)


@pytest.mark.parametrize(
    "function",
    [
        *(entries.far, entries.draw, entries.global_draw, entries.mutate, entries.as_dictionary, entries.one_by_one),
        *(entries.nan_first, entries.larger, entries.too_few, entries.nothing, entries.loud, entries.as_numpy),
        entries.too_many,
    ],
)
def test_an_attack_makes_the_same_here_and_in_a_process(isolation: Isolation, function: Callable) -> None:
    here, there = run(None, function), run(isolation, function)
    assert here.verdict == there.verdict == "ok"
    assert [(p.kind, p.indices, p.reason) for p in here.pieces] == [(p.kind, p.indices, p.reason) for p in there.pieces]
    for ours, theirs in zip(here.pieces, there.pieces, strict=True):
        assert (ours.values is None) == (theirs.values is None)
        if ours.values is not None and theirs.values is not None:
            assert torch.equal(ours.values, theirs.values)


def test_a_competition_counts_the_same_here_and_in_processes(isolation: Isolation) -> None:
    attacks = [entries.draw, entries.global_draw, entries.nan_first, entries.as_dictionary, entries.raises]
    defences = [entries.random_label, entries.global_random_label, entries.as_label_dictionary, entries.broken]
    images = torch.arange(25 * 4, dtype=torch.uint8).view(25, 1, 2, 2)
    labels, targets = torch.arange(25) % 10, (torch.arange(25) + 1) % 10
    found = []
    for where, n_jobs in ((False, 1), (isolation, 1), (isolation, 2)):
        competition = Competition(
            attacks, [entries.shift_target], defences, batch_size=10, isolate=where, n_jobs=n_jobs, clock=lambda: 0.0
        )
        found.append(competition.run(images, labels, targets).to_dict())
    assert found[0] == found[1] == found[2]


def environment() -> dict[str, str]:
    root = Path(__file__).parents[3]
    return {**os.environ, "PYTHONPATH": str(root), "TOOLKIT_QUIET": "1", "OMP_NUM_THREADS": "1"}
