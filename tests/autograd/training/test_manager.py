"""The engine: whom it calls, when, in which order, and how a run ends; the same from a plain loop and a Trainer."""

import os
import signal
import threading
import traceback
import warnings

import pytest
import torch

import toolkit.autograd.links as L
from toolkit.autograd import functions as F
from toolkit.autograd import using_config
from toolkit.autograd.optimizers import SGD
from toolkit.autograd.serializers import load_npz
from toolkit.autograd.training import (
    PRIORITY_EDITOR,
    PRIORITY_READER,
    PRIORITY_WRITER,
    DictDataset,
    Extension,
    ExtensionsManager,
    SerialIterator,
    StandardUpdater,
    Trainer,
    TupleDataset,
    Updater,
    make_extension,
    report,
)
from toolkit.autograd.training.extensions.log_report import LogReport
from toolkit.autograd.training.extensions.snapshot import Snapshot


class Counting(Updater):
    """Updates nothing, and does what it is told at an iteration."""

    def __init__(self, actions=(), **options):
        super().__init__(iterations_per_epoch=4, **options)
        self.actions = dict(actions)
        self.ended = 0

    def update_core(self):
        self.actions.get(self.iteration + 1, lambda: None)()

    def finalize(self):
        self.ended += 1


class Recording(Extension):
    """Notes all that is done with it."""

    def __init__(self, notes, label="r", fails=()):
        self.notes, self.label, self.fails = notes, label, fails

    def _note(self, what):
        self.notes.append((self.label, what))
        if what in self.fails:
            raise RuntimeError(f"{self.label} fails in {what}")

    def initialize(self, trainer):
        self._note("initialize")

    def __call__(self, trainer):
        self._note("call")

    def on_error(self, trainer, error, traceback):
        assert traceback is error.__traceback__
        self._note("on_error")

    def finalize(self):
        self._note("finalize")


def trainer_of(actions=(), stop=(3, "iteration"), **options):
    return Trainer(Counting(actions), stop, out=os.devnull, **options)


def raising(error):
    def action():
        raise error

    return action


def test_priorities_then_the_order_of_registration():
    order = []
    trainer = trainer_of(stop=(1, "iteration"))
    for name, priority in [
        ("a", PRIORITY_READER),
        ("b", PRIORITY_WRITER),
        ("c", PRIORITY_EDITOR),
        ("d", PRIORITY_READER),
    ]:
        trainer.extend(lambda trainer, name=name: order.append(name), name, priority=priority)

    @make_extension(trigger=(1, "iteration"), priority=PRIORITY_EDITOR, default_name="mine")
    def edit(trainer):
        order.append("mine")

    trainer.extend(edit)
    trainer.run()
    assert order == ["b", "c", "mine", "a", "d"]
    assert trainer.get_extension("mine") is edit


def test_names_that_are_taken_get_a_number():
    trainer = trainer_of(extensions=[Recording([]), Recording([]), Recording([])])
    for _ in range(2):
        trainer.extend(lambda trainer: None, "Recording_1")
    assert [entry.name for entry in trainer._entries] == [
        "Recording", "Recording_1", "Recording_2", "Recording_1_1", "Recording_1_2",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="Recording_1_2"):
        trainer.get_extension("other")


@pytest.mark.parametrize("wrong", [3, None, "name", (1, "epoch"), Recording])
def test_what_is_no_extension(wrong):
    with pytest.raises(TypeError, match="extension"):
        trainer_of().extend(wrong)


def test_before_each_run_and_after_it():
    notes = []
    trainer = trainer_of({2: lambda: trainer.stop()})
    trainer.extend(Recording(notes), trigger=(2, "iteration"), call_before_training=True)
    trainer.run()
    assert [what for _, what in notes] == ["initialize", "call", "call", "finalize"]
    notes.clear()
    trainer.run()
    assert [what for _, what in notes] == ["initialize", "finalize"] and trainer.iteration == 3
    assert trainer.updater.ended == 2
    with pytest.raises(RuntimeError, match=r"training is over[\s\S]*fired at iteration 3"):
        trainer.run()


def test_an_exception_reaches_every_extension_and_comes_out_as_it_was():
    notes = []
    error = KeyError("the data")
    trainer = trainer_of({2: raising(error)})
    trainer.extend(Recording(notes, "a", fails=("on_error", "finalize")))
    trainer.extend(Recording(notes, "b"))
    with pytest.raises(KeyError) as caught:
        trainer.run()
    assert caught.value is error and "raising" not in error.__notes__
    assert traceback.extract_tb(error.__traceback__)[-1].name == "action"
    assert [note for note in notes if note[1] != "call"] == [
        ("a", "initialize"), ("b", "initialize"), ("a", "on_error"), ("b", "on_error"), ("a", "finalize"),
        ("b", "finalize"),
    ]  # fmt: skip
    assert "a fails in on_error" in error.__notes__[0] and "a fails in finalize" in error.__notes__[1]
    assert (trainer.iteration, trainer.updater.ended) == (1, 1)
    trainer.updater.actions = {}
    trainer._entries[0].extension.fails = ()
    trainer.run()
    assert trainer.iteration == 3


def test_extensions_may_fail_too():
    for fails in (("call",), ("initialize",), ("finalize",)):
        notes = []
        trainer = trainer_of(extensions=[Recording(notes, "a", fails), Recording(notes, "b")])
        with pytest.raises(RuntimeError, match=f"a fails in {fails[0]}"):
            trainer.run()
        assert ("b", "finalize") in notes
        assert (("b", "on_error") in notes) == (fails[0] != "finalize")


def test_stopped_from_another_thread():
    started = threading.Event()
    trainer = trainer_of({1: started.set}, stop=None)
    thread = threading.Thread(target=lambda: (started.wait(), trainer.stop()))
    thread.start()
    trainer.run()
    thread.join()
    assert trainer.iteration >= 1 and not trainer.finished


def test_an_interrupt_waits_for_the_end_of_the_iteration():
    notes = []
    trainer = trainer_of({2: lambda: os.kill(os.getpid(), signal.SIGINT)}, extensions=[Recording(notes)])
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert [what for _, what in notes] == ["initialize", "call", "call", "on_error", "finalize"]
    assert trainer.iteration == 2 and signal.getsignal(signal.SIGINT) is before
    trainer.updater.actions = {}
    trainer.run()
    assert trainer.iteration == 3


def test_epochs_are_facts_of_the_trainer():
    seen = []
    trainer = trainer_of(stop=(1.5, "epoch"))
    trainer.extend(
        lambda t: seen.append((t.iteration, t.epoch, t.epoch_detail, t.previous_epoch_detail, t.is_new_epoch))
    )
    trainer.run()
    assert seen == [
        (1, 0, 0.25, 0.0, False), (2, 0, 0.5, 0.25, False), (3, 0, 0.75, 0.5, False), (4, 1, 1.0, 0.75, True),
        (5, 1, 1.25, 1.0, False), (6, 1, 1.5, 1.25, False),
    ]  # fmt: skip


def test_the_stop_trigger_is_any_trigger():
    for stop, last in [((2, "epoch"), 8), (lambda t: t.iteration >= 5, 5), ((0.1, "epoch"), 1), (lambda t: True, 0)]:
        trainer = trainer_of(stop=stop)
        trainer.run()
        assert trainer.iteration == last


def test_an_iterator_that_does_not_repeat_ends_the_run():
    model = L.Linear(1, 1)
    iterator = SerialIterator(TupleDataset(torch.ones(5, 1)), 2, repeat=False)
    updater = StandardUpdater(iterator, SGD(lr=0.1).setup(model), loss_function=lambda x: F.sum(model(x)))
    trainer = Trainer(updater, out=os.devnull)
    trainer.run()
    assert (trainer.iteration, trainer.epoch) == (3, 1)
    endless = trainer_of({2: raising(StopIteration())})
    with pytest.raises(StopIteration):
        endless.run()


def test_other_names_and_updates_of_ones_own():
    generator, critic = L.Linear(1, 1), L.Linear(1, 1)
    optimizers = {"generator": SGD(lr=0.1).setup(generator), "critic": SGD(lr=0.1).setup(critic)}

    class Two(Updater):
        def update_core(self):
            next(self.get_iterator())
            x = next(self.get_iterator("noise"))
            self.get_optimizer("critic").update(lambda: F.sum(critic(x)))
            report({"loss": 1.0}, self.get_model("generator"))

    updater = Two({"main": SerialIterator([1], 1), "noise": SerialIterator(torch.ones(4, 1), 2)}, optimizers)
    trainer = Trainer(updater, (2, "epoch"), out=os.devnull)
    trainer.run()
    assert trainer.observation == {"generator/loss": 1.0}
    assert sorted(trainer.models) == ["critic", "generator"] and optimizers["critic"].t == 2
    assert sorted(trainer.state_dict()["iterators"]) == ["main", "noise"]
    with pytest.raises(ValueError, match=r"\['critic', 'generator'\]"):
        updater.get_optimizer("main")


def test_batches_become_arguments_where_the_model_is():
    class Model(L.Chain):
        def __init__(self):
            super().__init__()
            with self.init_scope():
                self.l1 = L.Linear(2, 2)

        def forward(self, x, t=None):
            loss = F.sum(self.l1(x))
            report({"loss": loss}, self)
            report({"norm": 1.0}, self.l1)
            return loss

    import numpy as np

    x, t = np.ones((4, 2), dtype=np.float32), np.arange(4)
    for dataset in (TupleDataset(x, t), DictDataset(x=x, t=t), x, [(row, 0) for row in x]):
        model = Model()
        trainer = Trainer(
            StandardUpdater(SerialIterator(dataset, 2), SGD(lr=0.1).setup(model)), (2, "iteration"), out=os.devnull
        )
        trainer.run()
        assert sorted(trainer.observation) == ["main/l1/norm", "main/loss"]
        assert type(trainer.observation["main/loss"]) is torch.Tensor
    with pytest.raises(ValueError, match="setup"):
        StandardUpdater(SerialIterator(x, 2), SGD(lr=0.1))
    with pytest.raises(ValueError, match="main"):
        StandardUpdater({"other": SerialIterator(x, 2)}, SGD(lr=0.1).setup(model))


# ---------------------------------------------------------------------------------------------------------------------
# A plain loop


def parts(seed=0):
    generator = torch.Generator().manual_seed(seed)
    with using_config(generator=generator):
        model = L.Linear(3, 2)
    x, t = torch.randn(10, 3, generator=generator), torch.randint(2, (10,), generator=generator)
    iterator = SerialIterator(TupleDataset(x, t), 4, generator=torch.Generator().manual_seed(1))

    def loss(x, t):
        value = F.cross_entropy(model(x), t)
        report({"loss": value}, model)
        return value

    return model, SGD(lr=0.5).setup(model), iterator, loss


def equipped(make, out):
    """Return a manager or trainer with a log and snapshots, and the iterations a fractional trigger fired at."""
    fired = []
    manager = make()
    manager.extend(LogReport(trigger=(1, "epoch")))
    manager.extend(lambda manager: fired.append(manager.iteration), trigger=(0.3, "epoch"))
    manager.extend(Snapshot("{iteration}.npz", n_retains=2, autoload=True), trigger=(2, "iteration"))
    return manager, fired


def results(manager, fired, out):
    log = [{**entry, "elapsed_time": 0} for entry in manager.get_extension("LogReport").log]
    files = sorted(path.name for path in out.iterdir())
    state = load_npz(out / files[0]).state
    for entry in (state, state["extensions"]["LogReport"]):
        entry.pop("elapsed_time", None)
    state["extensions"]["LogReport"].pop("log", None)
    state["random"].pop("default")
    return log, files, fired, repr(state), manager.models["main"].W.data.tolist()


def test_a_plain_loop_gives_what_the_trainer_gives(tmp_path):
    outcomes = []
    for form in ("trainer", "while", "for", "with"):
        model, optimizer, iterator, loss = parts()
        out = tmp_path / form
        if form == "trainer":
            updater = StandardUpdater(iterator, optimizer, loss_function=loss)
            trainer, fired = equipped(lambda out=out, u=updater: Trainer(u, (3, "epoch"), out), out)
            trainer.run()
        else:
            trainer, fired = equipped(
                lambda out=out, m=model, o=optimizer, i=iterator: ExtensionsManager(
                    m, o, i, stop_trigger=(3, "epoch"), out=out
                ),
                out,
            )
            if form == "while":
                while not trainer.finished:
                    with trainer.run_iteration():
                        optimizer.update(loss, *next(iterator))
            elif form == "for":
                for batch in iterator:
                    with trainer.run_iteration():
                        optimizer.update(loss, *batch)
                    if trainer.finished:
                        break
            else:
                with trainer:
                    for _ in range(8):
                        with trainer.run_iteration():
                            optimizer.update(loss, *next(iterator))
        outcomes.append(results(trainer, fired, out))
    assert outcomes[0][2] == [1, 2, 3, 4, 5, 6, 7, 8] and outcomes[0][1] == ["6.npz", "8.npz", "log"]
    assert all(outcome == outcomes[0] for outcome in outcomes)


def test_a_plain_loop_that_is_over_says_so():
    manager = ExtensionsManager(stop_trigger=(2, "iteration"), out=os.devnull)
    for _ in range(2):
        with manager.run_iteration():
            pass
    assert manager.finished
    with pytest.raises(RuntimeError, match="training is over"), manager.run_iteration():
        pass


def test_an_exception_in_a_plain_loop():
    notes = []
    manager = ExtensionsManager(extensions=[Recording(notes)], out=os.devnull)
    with pytest.raises(ZeroDivisionError), manager.run_iteration():
        report({"x": 1})
        1 / 0  # noqa: B018
    assert [what for _, what in notes] == ["initialize", "on_error", "finalize"]
    assert manager.observation == {"x": 1} and manager.iteration == 0
    report({"x": 2})
    assert manager.observation == {"x": 1}


def test_a_batch_taken_before_the_resume_is_refused(tmp_path):
    def manager_of(parts_):
        model, optimizer, iterator, _ = parts_
        manager = ExtensionsManager(model, optimizer, iterator, out=tmp_path)
        manager.extend(Snapshot(autoload=True), trigger=(1, "iteration"))
        return manager, iterator

    manager, iterator = manager_of(parts())
    for _, _batch in zip(range(3), iterator, strict=False):
        with manager.run_iteration():
            pass
    late, iterator = manager_of(parts())
    next(iterator)
    with pytest.raises(RuntimeError, match=r"manager\.start\(\)"), late.run_iteration():
        pass
    timely, iterator = manager_of(parts())
    timely.start()
    next(iterator)
    with timely.run_iteration():
        pass
    assert timely.iteration == 4


def test_gradient_accumulation_counts_all_its_batches():
    iterator = SerialIterator(list(range(10)), 3, shuffle=False)
    fired = []
    manager = ExtensionsManager(iterator=iterator, out=os.devnull)
    manager.extend(lambda m: fired.append((m.iteration, m.epoch_detail, m.is_new_epoch)), trigger=(1, "epoch"))
    for _ in range(5):
        with manager.run_iteration():
            next(iterator), next(iterator)
    assert fired == [(2, 1.2, True), (4, 2.4, True), (5, 3.0, True)]


def test_the_folder_is_made_when_something_writes(tmp_path):
    def run(name, *extensions):
        trainer = Trainer(Counting(), (3, "iteration"), out=tmp_path / name, extensions=extensions)
        trainer.run()
        return (tmp_path / name).is_dir()

    assert not run("none")
    assert not run("nothing written", LogReport(log_name=None))
    assert run("written", LogReport(trigger=(1, "iteration")))
    assert run("of one's own", lambda trainer: open(os.path.join(trainer.out, "x"), "w").close())


def test_the_state_that_chainer_saves_is_warned_of():
    class Old(Extension):
        def __call__(self, trainer):
            pass

        def serialize(self, serializer):
            pass

    class Both(Old):
        def state_dict(self):
            return {}

    trainer = trainer_of()
    with pytest.warns(UserWarning, match="serialize.*write state_dict and load_state_dict") as warned:
        trainer.extend(Old())
    assert len(warned) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.extend(Both())


class Network(L.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.linear = L.Linear(3, 2)

    def forward(self, x):
        return self.linear(x)


@pytest.mark.parametrize("make", [Network, lambda: L.Linear(3, 2), lambda: L.Sequential(L.Linear(3, 2))])
def test_a_model_that_is_no_loss_is_recognised(make):
    model = make()
    iterator = SerialIterator(TupleDataset(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)), 2)
    trainer = Trainer(StandardUpdater(iterator, SGD(lr=0.1).setup(model)), (1, "iteration"))
    with pytest.raises(TypeError) as caught:
        trainer.run()
    note = "\n".join(caught.value.__notes__)
    assert "whole batch (2 arrays) and expects a loss" in note and "models.Classifier" in note


def test_what_is_no_iterator_is_refused():
    model = L.Linear(3, 2)
    optimizer = SGD(lr=0.1).setup(model)
    with pytest.raises(TypeError, match=r"an iterator: SerialIterator.*\n.*20 .*iterations_per_epoch"):
        ExtensionsManager(model, optimizer, 20)
    loader = torch.utils.data.DataLoader(torch.zeros(4, 3), batch_size=2)
    for given in (loader, iter(loader)):
        with pytest.raises(TypeError, match=r"SerialIterator\(dataset, batch_size\).*\n.*DataLoader"):
            StandardUpdater(given, optimizer)
    with pytest.raises(TypeError, match=r"iterations_per_epoch=len\(loader\)\n.*DataLoader"):
        ExtensionsManager(model, optimizer, {"main": loader})


def test_an_iterator_at_its_end_is_named():
    iterator = SerialIterator(torch.zeros(4), 4)
    for _ in range(3):
        next(iterator)
    manager = ExtensionsManager(iterator=iterator, stop_trigger=(2, "epoch"))
    over = r"training is over\n.*\n.*a SerialIterator, is at epoch 3"
    with pytest.raises(RuntimeError, match=over), manager.run_iteration():
        pass
