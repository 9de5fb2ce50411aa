import threading
import time

import pytest
import torch

from toolkit.core.svg import Svg
from toolkit.lessons import BackgroundView, Progress
from toolkit.lessons.controls import int_slider


def view_of(work, **options):
    controls = {"steps": int_slider("steps", 5, 0, 50)}
    return BackgroundView(
        controls, work, lambda r: Svg(50, 50), lambda r: f"Result {r}.", initial="none yet", **options
    )


def counting(steps):
    for step in range(steps):
        yield Progress((step + 1) / steps, step, f"step {step}")


def wait_for(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.005)


def test_before_run_the_initial_result_is_shown():
    view = view_of(counting)
    data, _ = view._repr_mimebundle_()
    assert view.text == "Result none yet." and "image/png" in data and not view.running
    view.controls["steps"].value = 7
    assert view.text == "Result none yet." and "next run" in view.note.value


def test_a_run_ends_with_the_last_result():
    view = view_of(counting)
    view.run_button.click()
    assert view.join(10)
    assert view.text == "Result 4." and view.progress.value == 1.0 and view.progress.bar_style == "success"
    assert view.note.value == "Done: step 4" and not view.run_button.disabled and view.stop_button.disabled


def endless(closed=None, started=None):
    def work(steps):
        try:
            for step in range(10**9):
                if started is not None:
                    started.set()
                time.sleep(0.002)
                yield Progress(0.5, step)
        finally:
            if closed is not None:
                closed.set()

    return work


def test_stop_ends_the_work_and_leaves_no_thread():
    before, closed, started = threading.active_count(), threading.Event(), threading.Event()
    view = view_of(endless(closed, started))
    view.run()
    assert started.wait(10) and view.running and view.run_button.disabled and not view.stop_button.disabled
    view.stop_button.click()
    assert view.join(10) and closed.is_set()
    assert view.note.value == "Stopped" and not view.run_button.disabled
    assert threading.active_count() == before


def test_run_while_running_is_ignored():
    runs = []

    def work(steps):
        runs.append(threading.current_thread())
        yield from endless()(steps)

    view = view_of(work)
    threads = [threading.Thread(target=view.run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: runs)
    view.stop(wait=True)
    assert len(runs) == 1 and not view.running


def test_an_error_in_the_work_is_shown_and_the_next_run_starts_afresh():
    fail = [True]

    def work(steps):
        yield Progress(0.1, "first", "begun")
        if fail[0]:
            raise FloatingPointError("loss is <nan>")
        yield Progress(1.0, "second")

    view = view_of(work)
    view.run()
    assert view.join(10)
    assert isinstance(view.error, FloatingPointError) and "loss is &lt;nan&gt;" in view.status.value
    assert view.note.value == "Failed: begun" and view.progress.bar_style == "danger" and not view.run_button.disabled
    fail[0] = False
    view.run()
    assert view.join(10) and view.error is None and view.text == "Result second."


@pytest.mark.parametrize("work", [lambda steps: [1, 2], lambda steps: None, lambda steps: 1 / 0])
def test_work_that_is_none_of_ours_is_an_error_not_a_hang(work):
    view = view_of(work)
    view.run()
    assert view.join(10) and view.error is not None and not view.run_button.disabled


def test_no_steps_at_all():
    view = view_of(lambda steps: iter(()))
    view.run()
    assert view.join(10) and view.text == "Result none yet." and view.error is None


def test_the_settings_of_the_moment_of_run_count():
    seen = []

    def work(steps):
        seen.append(steps)
        yield Progress(1.0, steps)

    view = view_of(work)
    view.controls["steps"].value = 9
    view.run()
    assert view.join(10) and seen == [9]


def test_reset_stops_and_shows_the_first_picture():
    view = view_of(endless())
    view.controls["steps"].value = 9
    view.run()
    wait_for(lambda: view.text != "Result none yet.")
    view.reset_button.click()
    assert not view.running and view.text == "Result none yet." and view.controls["steps"].value == 5
    assert view.progress.value == 0


def test_close_stops_the_work():
    view = view_of(endless())
    view.run()
    view.close()
    assert view.join(10)


def test_progress_is_kept_within_its_bar():
    view = view_of(lambda steps: iter([Progress(-1.0, 0), Progress(7.0, 1)]))
    view.run()
    assert view.join(10) and view.progress.value == 1.0 and view.error is None


def test_training_in_the_thread_has_gradients_whatever_the_cell_says():
    def work(steps):
        weight = torch.zeros(3, requires_grad=True)
        (weight * 2).sum().backward()
        yield Progress(1.0, weight.grad.sum().item())

    view = view_of(work)
    with torch.no_grad():
        view.run()
        assert view.join(10)
    assert view.error is None and view.text == "Result 6.0."


def test_pictures_are_not_drawn_faster_than_they_can_be_seen():
    drawn = []
    controls = {"steps": int_slider("steps", 50, 0, 50)}
    view = BackgroundView(controls, counting, lambda r: drawn.append(r) or Svg(5, 5), str, initial=-1)
    view.run()
    assert view.join(20)
    assert drawn[0] == -1 and drawn[-1] == 49 and len(drawn) < 30
