"""Sigmoid belief networks with one estimator after another: what is trained, measured, recorded and told."""

import copy
import math
import threading
from dataclasses import replace

import pytest
import torch

from toolkit.core.devices import resolve_generator
from toolkit.datasets import load
from toolkit.estimators.antithetic import DisARM
from toolkit.estimators.bounds import importance_weighted_bound
from toolkit.estimators.estimator import surrogate
from toolkit.estimators.likelihood_ratio import LikelihoodRatio
from toolkit.estimators.marginalized import RAM
from toolkit.estimators.models import SigmoidBeliefNetwork
from toolkit.estimators.multi_sample import LeaveOneOut
from toolkit.estimators.problems import Problem
from toolkit.estimators.sigmoid_belief import SigmoidBeliefBound
from toolkit.estimators.tuning import Tuner
from toolkit.experiments import sbn
from toolkit.experiments.cli import main
from toolkit.experiments.ledger import read_paper_results
from toolkit.experiments.records import load_records
from toolkit.experiments.sbn import SNAPSHOTS, STUDY, SbnConfig, measure, quantities, report, run, trained, variants
from toolkit.experiments.sbn_methods import Setting, default_methods, find_method
from toolkit.experiments.sbn_snapshots import SnapshotTraining
from toolkit.experiments.sbn_training import Images, SbnTraining, stream
from toolkit.experiments.sbn_variance import gradient_variance
from toolkit.experiments.study import Task

SMALL = SbnConfig(
    device="cpu", sizes="64-6-5", n_steps=12, batch_size=20, n_evaluations=3, bound_samples=2, curve_samples=2,
    test_samples=3, variance_repeats=4, seeds=(0,),
)  # fmt: skip
TIMES = ("seconds", "milliseconds")
EVERY_METHOD = default_methods("laptop", "digits", 11)


def _numbers(metrics: dict) -> dict:
    return {name: value for name, value in metrics.items() if not any(word in name for word in TIMES)}


@pytest.fixture(scope="module")
def records():
    return run(replace(SMALL, estimators=("LR", "NVIL", "RAM")))


# What is compared


def test_the_defaults_follow_data_and_scale():
    quick, laptop, paper = (SbnConfig(scale=scale).complete() for scale in ("quick", "laptop", "paper"))
    assert (quick.sizes, quick.data, quick.n_steps) == ("64-32", "digits", 150)
    assert (laptop.sizes, laptop.n_steps, laptop.learning_rate, laptop.optimizer) == ("64-32-32", 1500, 3e-3, "adam")
    assert len(laptop.seeds) == 5
    assert "RLOO-65" in laptop.estimators
    assert len(laptop.estimators) >= 20
    assert (paper.sizes, paper.images, paper.n_steps) == ("784-200-200", "full", 2_000_000)
    assert (paper.optimizer, paper.weight_decay, paper.batch_size, paper.test_samples) == ("rmsprop", 1e-3, 100, 50_000)
    assert paper.variance_repeats == 1000
    assert {name for variant in paper.estimators for name in quantities(paper, variant)} >= {
        f"discrete_reparameterization/mnist-linear-2/training-bound-{name}" for name in ("nvil", "muprop")
    }
    mnist = SbnConfig(scale="laptop", data="mnist").complete()
    assert (mnist.sizes, mnist.n_steps, mnist.images) == ("784-200", 2000, "subset")
    assert set(mnist.estimators) == {"LR", "NVIL", "RLOO-2", "DisARM", "RAM"}
    assert replace(SbnConfig(scale="laptop"), data="mnist").complete() == mnist
    assert mnist.layer_sizes == SbnConfig(scale="laptop", data="mnist").layer_sizes == (784, 200)


def test_a_record_holds_what_the_open_settings_came_to():
    config = SbnConfig(scale="laptop", data="mnist")
    assert config.sizes is None
    assert config.to_dict() == config.complete().to_dict()
    assert config.to_dict()["sizes"] == "784-200"
    assert config.identity()["n_steps"] == 2000


def test_names_of_estimators():
    config = SbnConfig(estimators=("ram,disarm", "rloo-7", " lr+c "))
    assert config.estimators == ("RAM", "DisARM", "RLOO-7", "LR+C")
    assert variants(config) == (*config.estimators, SNAPSHOTS)
    assert variants(replace(config, snapshots=0)) == config.estimators
    assert find_method("RLOO-7").make(None) == LeaveOneOut(7)
    assert find_method("RAM-fresh").make(None) == RAM(noise="fresh")
    assert find_method("DisARM").make(None) == DisARM()
    assert find_method("LR").make(None) == LikelihoodRatio()


@pytest.mark.parametrize("name", ["REINFORCE!", "RLOO", "RLOO-1", "RLOO-x", "RAM-3", "rloo-²"])
def test_a_wrong_name_is_told(name):
    with pytest.raises(ValueError, match="SbnConfig: bad argument") as caught:
        SbnConfig(estimators=(name,))
    assert "RAM" in str(caught.value)


def test_a_near_miss_is_named():
    with pytest.raises(ValueError, match=r"like Gumbel-softmax\?"):
        SbnConfig(estimators=("Gumbel-softmx",))


@pytest.mark.parametrize(
    "arguments",
    [
        {"sizes": "784-20"},
        {"sizes": "64"},
        {"sizes": "64-0"},
        {"sizes": "64--3"},
        {"sizes": "64-²"},
        {"sizes": ""},
        {"n_steps": 0},
        {"batch_size": 0},
        {"n_samples": 0},
        {"learning_rate": 0.0},
        {"learning_rate": -1.0},
        {"learning_rate": math.inf},
        {"learning_rate": math.nan},
        {"weight_decay": -1e-3},
        {"weight_decay": math.inf},
        {"n_evaluations": 0},
        {"bound_samples": 0},
        {"test_samples": 0},
        {"curve_samples": 0},
        {"variance_repeats": 1},
        {"snapshots": -1},
        {"estimators": ()},
        {"estimators": ("", ",")},
        {"estimators": ("RAM", "ram")},
    ],
)
def test_impossible_settings(arguments):
    with pytest.raises(ValueError, match="SbnConfig: bad argument"):
        SbnConfig(**arguments)


def test_which_form_of_the_bound_an_estimator_is_given():
    assert find_method("RAM").entropy_for("usual") == "analytic"
    assert find_method("RLOO-2").entropy_for("usual") == "sampled"
    assert find_method("ST").entropy_for("usual") == "analytic"
    assert find_method("RLOO-2").entropy_for("analytic") == "analytic"
    assert find_method("VIMCO-3").entropy_for("analytic") == "sampled"
    assert find_method("RAM-sampled").entropy_for("analytic") == "sampled"


# Data and training


def test_images_are_binary_where_they_must_be_and_the_same_for_every_seed():
    images = Images(SMALL, torch.device("cpu"))
    data = load("digits")
    assert torch.equal(images.train, data.train.as_float(flat=True))
    assert images.test.shape == (len(data.test), 64)
    assert set(images.test.unique().tolist()) == {0.0, 1.0}
    assert (images.test - data.test.as_float(flat=True)).mean().abs() < 0.01
    assert torch.equal(images.test, Images(replace(SMALL, sizes="64-3"), torch.device("cpu")).test)
    assert len(images.train_binary) == len(data.test)
    assert len(Images(replace(SMALL, batch_size=500), torch.device("cpu")).train_binary) == 500


def test_fresh_minibatches_hold_no_image_twice():
    images = Images(SMALL, torch.device("cpu"))
    images.train = torch.eye(64)
    batches = images.fresh(3, 64, resolve_generator(seed=0))
    assert all(torch.equal(batch.sum(0), torch.ones(64)) for batch in batches)
    assert images.fresh(2, 100, resolve_generator(seed=0)).shape == (2, 64, 64)


def test_every_estimator_starts_alike_and_sees_the_same_images():
    one, other = (SbnTraining(SMALL, find_method(name), 3) for name in ("LR", "RAM-fresh"))
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b)
    for index in range(20):
        if index == 10:
            one.step(index)
            other.step(index)
            continue
        assert torch.equal(one.next_images(), other.next_images())
    assert not torch.equal(one.next_images(), SbnTraining(SMALL, find_method("LR"), 4).next_images())


def test_streams_of_other_purposes_are_unrelated():
    draws = {
        name: torch.rand(3, generator=stream(seed, name)).tolist() for seed, name in ((0, "a"), (1, "b"), (0, "c"))
    }
    assert len({tuple(draw) for draw in draws.values()}) == 3
    assert torch.equal(torch.rand(3, generator=stream(5, "x")), torch.rand(3, generator=stream(5, "x")))


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_a_step_is_the_one_written_out(optimizer):
    config = replace(SMALL, optimizer=optimizer, weight_decay=0.01, learning_rate=0.02)
    ours, theirs = (SbnTraining(config, find_method("RLOO-2"), 0) for _ in range(2))
    for index in range(3):
        ours.step(index)
    kinds = {"adam": torch.optim.Adam, "rmsprop": lambda p, **k: torch.optim.RMSprop(p, alpha=0.99, eps=1e-8, **k)}
    optimiser = kinds[optimizer](theirs.model.parameters(), lr=0.02, weight_decay=0.01)
    for _ in range(3):
        images = theirs.next_images()
        problem = SigmoidBeliefBound(theirs.model, images, entropy="sampled")
        samples = LeaveOneOut(2)(problem, 1, theirs.noise)
        optimiser.zero_grad()
        (-surrogate(problem, samples) / len(images)).backward()
        optimiser.step()
    for a, b in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert ours.evaluations == 6


@pytest.mark.parametrize("name", EVERY_METHOD)
def test_every_estimator_trains(name):
    training = SbnTraining(replace(SMALL, batch_size=50), find_method(name), 0)
    before = training.evaluate(0)
    for index in range(25):
        training.step(index)
    after = training.evaluate(25)
    assert after["test bound"] > before["test bound"] + 1
    assert after["training bound"] > before["training bound"] + 1
    problem = training.problem(training.images.test[:2])
    assert training.evaluations == 25 * training.learner.estimator.expected_evaluations(problem)
    variances = training.variances(25)
    assert all(math.isfinite(value) and value >= 0 for value in variances.values())
    assert variances == training.variances(25)
    assert after == training.evaluate(25)


def test_nonlinear_networks_train_too():
    config = replace(SMALL, nonlinear=True, estimators=("RAM",), snapshots=0)
    (record,) = run(config)
    assert trained(config).model.hidden == 2
    assert math.isfinite(record.summary["test bound"].mean)
    assert ", nonlinear" in report([record])


def test_what_learns_learns():
    trainings = {name: SbnTraining(SMALL, find_method(name), 0) for name in ("LR+C", "NVIL", "REBAR", "RELAX")}
    for training in trainings.values():
        before = training.learner.state_dict()["learnt"]
        for index in range(11):
            training.step(index)
        assert training.learner.learns
        assert str(training.learner.state_dict()["learnt"]) != str(before)
    assert not SbnTraining(SMALL, find_method("RAM"), 0).learner.learns
    assert trainings["NVIL"].learner.estimator.baseline.networks[0] is not None


@pytest.mark.parametrize("name", ["REBAR", "RELAX"])
def test_settings_are_tuned_by_one_optimizer(name):
    """Adam's moments stay from tuning to tuning: a new Adam would move by its rate whatever the derivative."""
    training = SbnTraining(SMALL, find_method(name), 0)
    generator = stream(0, f"{name} learns")
    settings = Setting(3e-3, generator, training.problem(training.images.test[:1]))
    tuner = Tuner(find_method(name).make(settings), training.problem(training.images.test[:1]))
    for number in range(1, 41):
        problem = training.problem(training.next_images())
        training.learner.learn(problem, 1, training.noise)
        if number % 10 == 0:
            tuner.step(problem, 1, generator)
            assert training.learner.estimator.temperature == tuner.estimator.temperature
            assert training.learner.estimator.scale == tuner.estimator.scale
    saved = copy.deepcopy(training.learner.state_dict())
    other = SbnTraining(SMALL, find_method(name), 0).learner
    other.load_state_dict(saved)
    for learner in (training.learner, other):
        for _ in range(10):
            learner.learn(problem, 1, training.noise)
    assert training.learner.estimator.temperature == other.estimator.temperature != tuner.estimator.temperature
    assert training.learner.estimator.scale == other.estimator.scale != tuner.estimator.scale


# Variance


def _tiny(depth: int = 2) -> tuple[SigmoidBeliefNetwork, torch.Tensor]:
    model = SigmoidBeliefNetwork((5, 4, 3)[: depth + 1], generator=resolve_generator(seed=1), device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model.double(), (torch.rand(6, 5, generator=resolve_generator(seed=2)) < 0.4).double()


@pytest.mark.parametrize(("estimator", "n_samples"), [(LikelihoodRatio(), 1), (LeaveOneOut(3), 2), (RAM(), 1)])
def test_the_variance_is_that_of_gradients_taken_one_by_one(estimator, n_samples):
    model, images = _tiny()
    generator = resolve_generator(seed=0)
    repeats = 200
    found = gradient_variance(
        model, estimator, images.expand(repeats, -1, -1), generator, entropy="sampled", n_samples=n_samples
    )
    rows: list[list[torch.Tensor]] = [[], []]
    for _ in range(repeats):
        problem = SigmoidBeliefBound(model, images, entropy="sampled")
        model.zero_grad()
        (surrogate(problem, estimator(problem, n_samples, generator)) / len(images)).backward()
        for layer, row in enumerate(rows):
            row.append(torch.cat([p.grad.flatten() for p in model.inference[layer].parameters()]))
    variances = [torch.stack(row).var(0) for row in rows]
    for layer, variance in enumerate(variances):
        error = found.layer_errors[layer] * 2**0.5
        assert found.layers[layer] == pytest.approx(float(variance.mean()), abs=4.5 * error)
    assert found.mean == pytest.approx(float(torch.cat(variances).mean()), abs=4.5 * found.standard_error * 2**0.5)
    assert found.evaluations == estimator.expected_evaluations(problem) * n_samples
    assert found.repeats == repeats


def test_the_standard_error_is_the_spread_of_the_variance():
    model, images = _tiny()
    found = [
        gradient_variance(model, LeaveOneOut(2), images.expand(30, -1, -1), resolve_generator(seed=seed))
        for seed in range(40)
    ]
    spread = float(torch.tensor([entry.mean for entry in found]).std())
    stated = sum(entry.standard_error for entry in found) / len(found)
    assert 0.6 < stated / spread < 1.6


def test_fixed_and_fresh_batches():
    model, images = _tiny()
    exactly = gradient_variance(model, RAM(), images[:1].expand(50, -1, -1), resolve_generator(seed=0))
    fresh = images[torch.randint(6, (50, 1), generator=resolve_generator(seed=3))]
    assert gradient_variance(model, RAM(), fresh, resolve_generator(seed=0)).mean > exactly.mean
    shallow, _ = _tiny(depth=1)
    assert gradient_variance(shallow, RAM(), images[:1].expand(50, -1, -1), resolve_generator(seed=0)).mean > 0
    with pytest.raises(ValueError, match="batches"):
        gradient_variance(model, RAM(), images[None], resolve_generator(seed=0))


def test_blocks_of_repeats_do_not_matter(monkeypatch):
    model, images = _tiny()
    fresh = images.expand(30, -1, -1)
    whole = gradient_variance(model, LikelihoodRatio(), fresh, resolve_generator(seed=0))
    monkeypatch.setattr("toolkit.experiments.sbn_variance._MOST_NUMBERS", 1)
    single = gradient_variance(model, LikelihoodRatio(), fresh, resolve_generator(seed=0))
    assert single.mean == pytest.approx(whole.mean, abs=5 * whole.standard_error)
    assert single.evaluations == whole.evaluations == 1


# Records


def test_a_record_has_bounds_variances_and_costs(records):
    assert [record.variant for record in records] == ["LR", "NVIL", "RAM", SNAPSHOTS]
    for record in records[:3]:
        (result,) = record.results
        bounds = result.histories["test bound"]
        assert bounds.steps == (0, 4, 8, 12)
        assert bounds.values[-1] > bounds.values[0]
        assert result.histories["fixed variance"].steps == (0, 12)
        assert result.histories["evaluations"].values == tuple(
            step * {"LR": 1, "NVIL": 1, "RAM": 12}[record.variant] for step in bounds.steps
        )
        seconds = result.histories["seconds"].values
        assert seconds[0] == 0 < seconds[1] < seconds[2] < seconds[3]
        metrics = result.metrics
        assert metrics["test bound"] == bounds.values[-1]
        assert metrics["highest training bound"] == max(result.histories["training bound"].values)
        assert metrics["importance-weighted bound"] >= metrics["test bound"] - 1
        assert metrics["milliseconds a step"] > 0
        assert {"fixed variance/layer 1", "fixed variance/layer 2/standard error", "total variance"} <= set(metrics)
        assert result.tables["data"]["name"] == ["digits"]
        assert record.config["sizes"] == "64-6-5"


def test_the_snapshots_compare_all_at_the_parameters_of_ram(records):
    (ours,), (theirs,) = records[2].results, records[3].results
    assert ours.histories["test bound"] == theirs.histories["test bound"]
    table = theirs.tables["snapshots"]
    assert table["step"] == [0, 0, 0, 12, 12, 12]
    assert table["estimator"] == ["LR", "NVIL", "RAM"] * 2
    assert table["evaluations"] == [1, 1, 12] * 2
    assert table["to RAM"][2] == table["to RAM"][5] == 1
    assert table["to RAM"][3] == pytest.approx(table["fixed variance"][3] / table["fixed variance"][5], rel=1e-6)
    assert table["to RAM"][3] > 10
    assert table["to RAM, times evaluations"][5] == 12
    assert all(value > 0 for column in list(table)[2:] for value in table[column])
    # Before the first step nothing is learnt, and the noise is the same.
    assert table["fixed variance"][0] == table["fixed variance"][1]
    assert table["fixed variance"][3] != table["fixed variance"][4]
    assert table["fixed variance"][5] == ours.metrics["fixed variance"] == theirs.metrics["fixed variance/RAM"]
    layers = theirs.tables["layers"]
    assert layers["layer"] == [1, 2] * 6
    weights = torch.tensor([64 * 6 + 6, 6 * 5 + 5.0], dtype=torch.float64)
    whole = (weights * torch.tensor(layers["fixed variance"][-2:], dtype=torch.float64)).sum() / weights.sum()
    assert float(whole) == pytest.approx(table["fixed variance"][-1], rel=1e-5)


@pytest.mark.parametrize(("snapshots", "steps"), [(1, {0}), (3, {0, 4, 12}), (100, {0, 4, 8, 12})])
def test_there_are_as_many_snapshots_as_asked_for_and_possible(snapshots, steps):
    found = measure(Task(replace(SMALL, estimators=("LR",), snapshots=snapshots), 0, SNAPSHOTS))
    assert set(found.tables["snapshots"]["step"]) == set(found.tables["layers"]["step"]) == steps
    assert found.histories["test bound"].steps == (0, 4, 8, 12)
    assert "fixed variance/RAM" in found.metrics


def test_ram_joins_the_snapshots_uninvited():
    comparison = SnapshotTraining(SMALL, ("LR",), 0)
    assert list(comparison.learners) == ["LR", "RAM"]


def test_a_run_is_reproducible_and_its_network_can_be_had_again(records):
    again = run(replace(SMALL, estimators=("LR", "NVIL", "RAM")))
    for one, other in zip(records, again, strict=True):
        assert _numbers(one.results[0].metrics) == _numbers(other.results[0].metrics)
    network = trained(replace(SMALL, estimators=("LR", "NVIL", "RAM")), "RAM", 0)
    metrics = records[2].results[0].metrics
    assert metrics["test bound"] == pytest.approx(network.evaluate(12)["test bound"], rel=1e-6)
    bound = importance_weighted_bound(network.model, network.images.test, 3, stream(0, "weighted bound")).mean
    assert metrics["importance-weighted bound"] == pytest.approx(bound, rel=1e-6)
    assert network.model.sample(3, resolve_generator(seed=0)).images.shape == (3, 64)


@pytest.mark.parametrize("variant", ["NVIL", "RELAX", SNAPSHOTS])
def test_interrupted_and_resumed_equals_unbroken(tmp_path, variant, monkeypatch):
    config = replace(SMALL, n_steps=14, n_evaluations=7, estimators=("NVIL", "LR+C", "REBAR"))
    unbroken = measure(Task(config, 0, variant))
    stop = threading.Event()
    steps = 0
    original = SbnTraining.step_on

    def step_on(self, images):
        nonlocal steps
        steps += 1
        if steps == 11:
            stop.set()
        original(self, images)

    with monkeypatch.context() as patch:
        patch.setattr(SbnTraining, "step_on", step_on)
        assert measure(Task(config, 0, variant, tmp_path / "c", stop)).interrupted
    resumed = measure(Task(config, 0, variant, tmp_path / "c"))
    assert _numbers(resumed.metrics) == _numbers(unbroken.metrics)
    for name, series in unbroken.histories.items():
        if not any(word in name for word in TIMES):
            assert resumed.histories[name] == series


def test_the_report_shows_bounds_and_variances(records):
    text = report(records)
    assert "64-6-5, digits, 12 steps, 1 seed" in text
    for name in ("LR", "NVIL", "RAM", "test bound", "importance-weighted bound", "total variance", "ms a step"):
        assert name in text
    assert "after 12 steps with RAM" in text
    assert "held out by our own rule" in text
    alone = report(records[:1])
    assert "RAM" not in alone.replace("RAM-", "")
    assert "shared parameters" in report(records[3:])


def test_the_report_survives_bounds_that_are_no_numbers(records):
    (result,) = records[0].results
    broken = replace(result, metrics={**result.metrics, "test bound": math.nan})
    lines = report([replace(records[0], results=(broken,)), records[2]]).splitlines()
    assert [line.split()[0] for line in lines[4:6]] == ["RAM", "LR"]


def test_only_the_same_networks_on_all_of_mnist_stand_beside_reported_bounds():
    known = {result.quantity for result in read_paper_results()}
    paper = SbnConfig(scale="paper", sizes="784-200")
    for variant in ("Gumbel-softmax", "NVIL", "MuProp+C", "REBAR", "RELAX"):
        for sizes in ("784-200", "784-200-200"):
            (name,) = quantities(replace(paper, sizes=sizes), variant)
            assert name in known
    assert quantities(paper, "RAM") == {}
    assert quantities(replace(paper, images="subset"), "NVIL") == {}
    assert quantities(replace(paper, nonlinear=True), "NVIL") == {}
    assert quantities(replace(paper, n_steps=1000), "NVIL") == {}
    assert quantities(SbnConfig(scale="laptop", data="mnist"), "NVIL") == {}
    assert quantities(SbnConfig(), "NVIL") == {}
    assert {q for q in known if q.startswith("discrete_reparameterization/")} >= set(quantities(paper, "RELAX"))


def test_the_command_line_runs_mnist_with_names_after_commas(tmp_path, capsys):
    arguments = ["--data", "mnist", "--sizes", "784-4", "--estimators", "ram,LR", "--n-steps", "2", "--seeds", "0"]
    arguments += ["--n-evaluations", "1", "--bound-samples", "1", "--curve-samples", "1", "--test-samples", "1"]
    arguments += ["--variance-repeats", "2", "--snapshots", "0", "--device", "cpu", "--out", str(tmp_path)]
    assert main(["run", "sbn", "--scale", "laptop", *arguments]) == 0
    out = capsys.readouterr().out
    assert "784-4, subset MNIST, 2 steps, 1 seed" in out
    assert "not the MNIST test set" in out
    records = load_records(tmp_path, "sbn")
    assert {record.variant for record in records} == {"RAM", "LR"}
    assert records[0].config["data"] == "mnist"


def test_variance_is_worth_nats():
    """The lesson of the study, at its smallest: better gradients, better models."""
    bounds = {}
    for name in ("LR", "RAM"):
        config = SbnConfig(device="cpu", n_steps=80, n_evaluations=1, n_variances=0, snapshots=0, estimators=(name,))
        (record,) = run(config)
        bounds[name] = record.summary["test bound"]
    assert bounds["RAM"].mean > bounds["LR"].mean + 0.5
    assert bounds["RAM"].n == 2


def test_it_is_listed():
    assert STUDY.name == "sbn"
    assert sbn.run == STUDY.run
    assert issubclass(SigmoidBeliefBound, Problem)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda():
    records = run(replace(SMALL, device="cuda", estimators=("NVIL", "RAM")))
    assert records[0].environment.device.startswith("cuda:0: ")
    assert all(math.isfinite(record.summary["test bound"].mean) for record in records)
