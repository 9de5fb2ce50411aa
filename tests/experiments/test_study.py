"""The contract of a study: scales, seeds, variants, sweeps, and going on after an interruption."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
from dataclasses import FrozenInstanceError, dataclass, replace
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch

from toolkit.core.devices import resolve_generator
from toolkit.core.errors import CheckpointError, WriteError
from toolkit.core.history import Series
from toolkit.core.training import train
from toolkit.experiments.records import Quantity, load_records
from toolkit.experiments.registry import UnknownStudy, find_study, studies
from toolkit.experiments.study import (
    ConfigurationError,
    Measurement,
    Study,
    StudyConfig,
    StudyInterrupted,
    Task,
    by_scale,
)

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class WalkConfig(StudyConfig):
    """A random walk."""

    n_steps: int = by_scale(quick=10, laptop=100, paper=1000)
    width: float = 1.0
    methods: tuple[str, ...] = ("plain", "anti/thetic")


def walk(task: Task) -> Measurement:
    generator = resolve_generator(seed=task.seed)
    position = torch.zeros(())

    def step(index):
        if index == 5 and os.environ.get("WALK_DIES") == f"{task.variant}{task.seed}":
            os.kill(os.getpid(), getattr(signal, os.environ["WALK_SIGNAL"]))
        position.add_(task.config.width * torch.randn((), generator=generator))
        return {"position": position}

    history = train(
        step,
        task.config.n_steps,
        state={"position": position, "generator": generator},
        checkpoint=task.checkpoint,
        checkpoint_every=None if task.checkpoint is None else 1,
        config=task.config.identity(),
        stop=task.stop,
    )
    if history.interrupted:
        return Measurement({}, interrupted=True)
    return Measurement(
        {"end": position, "seed": np.float32(task.seed)},
        history.metrics,
        {"path": {"step": range(3), "value": torch.arange(3), "name": ["a", None, "b"], "array": np.ones(3)}},
    )


WALK = Study(
    name="walk",
    summary="a random walk",
    config=WalkConfig,
    measure=walk,
    variants=lambda config: config.methods,
    quantities=lambda config, variant: {"paper/end": Quantity("end", 0.5)} if variant == "plain" else {},
)


def _ends(records) -> list[list[float]]:
    return [[result.metrics["end"] for result in record.results] for record in records]


@pytest.mark.parametrize(("scale", "n_steps", "n_seeds"), [("quick", 10, 3), ("laptop", 100, 5), ("paper", 1000, 5)])
def test_a_scale_fills_in_what_is_left_open(scale, n_steps, n_seeds):
    config = WalkConfig(scale=scale)
    assert config.n_steps == n_steps
    assert len(config.seeds) == n_seeds
    assert WalkConfig(scale=scale, n_steps=7, seeds=(9,)).n_steps == 7
    assert WalkConfig(scale=scale, seeds=(9,)).seeds == (9,)


def test_configs_are_frozen_and_plain():
    config = WalkConfig()
    with pytest.raises(FrozenInstanceError):
        config.n_steps = 3
    assert config.to_dict()["methods"] == ["plain", "anti/thetic"]
    assert "seeds" not in config.identity()
    assert replace(config, width=2.0).n_steps == 10
    assert json.loads(json.dumps(config.to_dict())) == config.to_dict()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"seeds": (1, 1)}, "each once"),
        ({"seeds": ()}, "at least one"),
        ({"seeds": (-1,)}, "0 <= seed"),
        ({"seeds": (2**63,)}, "0 <= seed"),
    ],
)
def test_impossible_seeds(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        WalkConfig(**arguments)


def test_an_unknown_scale():
    with pytest.raises(Exception, match=r"scale|violat"):
        WalkConfig(scale="huge")


def test_records_of_all_variants_and_seeds(tmp_path):
    records = WALK.run(WalkConfig(seeds=(4, 2)), out=tmp_path)
    assert [(record.variant, record.seeds) for record in records] == [("plain", (4, 2)), ("anti/thetic", (4, 2))]
    first = records[0]
    assert first.scale == "quick"
    assert first.config["n_steps"] == 10
    assert first.quantities == {"paper/end": Quantity("end", 0.5)}
    assert records[1].quantities == {}
    assert first.results[0].histories["position"].steps == tuple(range(1, 11))
    assert first.results[0].tables["path"] == {
        "step": [0, 1, 2],
        "value": [0, 1, 2],
        "name": ["a", None, "b"],
        "array": [1.0, 1.0, 1.0],
    }
    assert first.environment.torch == torch.__version__
    assert first.seconds > 0
    assert first.cpu_seconds > 0
    values = [result.metrics["end"] for result in first.results]
    assert first.summary["end"].mean == pytest.approx(sum(values) / 2)
    assert first.summary["end"].sd == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2))
    written = load_records(tmp_path)
    assert sorted(record.variant for record in written) == ["anti/thetic", "plain"]
    assert {record.variant: record.results for record in written} == {r.variant: r.results for r in records}
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".json"]


def test_without_out_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    WALK.run(WalkConfig(seeds=(0,)))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_found_out_first(tmp_path):
    (tmp_path / "out").write_text("")

    def never(task):
        pytest.fail("computed before the folder was tried")

    with pytest.raises(WriteError, match="a file stands where a folder should be"):
        replace(WALK, measure=never).run(out=tmp_path / "out")


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_an_outer_joblib_configuration_spreads_the_sweep(backend):
    config = WalkConfig(seeds=(0, 1, 2), methods=("plain",))
    with joblib.parallel_config(backend=backend, n_jobs=2):
        spread = WALK.run(config)
    assert _ends(spread) == _ends(WALK.run(config))


def test_stopped_from_another_thread_and_going_on(tmp_path):
    config = WalkConfig(seeds=(0, 1))
    expected = _ends(WALK.run(config))
    stop = threading.Event()

    def stopping(task):
        if task.seed == 1:
            stop.set()
        return walk(task)

    with pytest.raises(StudyInterrupted):
        replace(WALK, measure=stopping).run(config, out=tmp_path, stop=stop)
    assert load_records(tmp_path) == ()
    assert list((tmp_path / ".unfinished").rglob("*seed*"))
    assert _ends(WALK.run(config, out=tmp_path)) == expected
    assert not (tmp_path / ".unfinished").exists()


def test_a_study_that_never_looks_at_stop_still_stops_between_its_tasks():
    stop, seen = threading.Event(), []

    def deaf(task):
        seen.append(task.seed)
        stop.set()
        return Measurement({"end": 1.0})

    with pytest.raises(StudyInterrupted):
        replace(WALK, measure=deaf).run(WalkConfig(seeds=(4, 5, 6), methods=("plain",)), stop=stop)
    assert seen == [4]


_SCRIPT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("case", sys.argv[1])
case = importlib.util.module_from_spec(spec)
sys.modules["case"] = case
spec.loader.exec_module(case)
try:
    case.WALK.run(case.WalkConfig(seeds=(0, 1)), out=sys.argv[2])
except case.StudyInterrupted:
    sys.exit(130)
"""


@pytest.mark.parametrize(("name", "code"), [("SIGKILL", -signal.SIGKILL), ("SIGINT", 130)])
def test_killed_and_going_on(tmp_path, name, code):
    environment = {**os.environ, "WALK_DIES": "plain1", "WALK_SIGNAL": name}
    arguments = [sys.executable, "-c", _SCRIPT, __file__, str(tmp_path)]
    assert subprocess.run(arguments, cwd=ROOT, env=environment, check=False).returncode == code
    assert load_records(tmp_path) == ()
    seen = []

    def counting(task):
        measured = walk(task)
        seen.append((task.seed, task.variant))
        return measured

    config = WalkConfig(seeds=(0, 1))
    assert _ends(replace(WALK, measure=counting).run(config, out=tmp_path)) == _ends(WALK.run(config))
    assert len(seen) == 4


def test_more_seeds_go_on_from_the_same_checkpoints_and_other_settings_do_not(tmp_path):
    def failing(task):
        measured = walk(task)
        if task.seed == 1:
            raise RuntimeError("out of memory")
        return measured

    for config in (WalkConfig(seeds=(0, 1)), WalkConfig(seeds=(0, 1), width=2.0)):
        with pytest.raises(RuntimeError, match="out of memory"):
            replace(WALK, measure=failing).run(config, out=tmp_path)
    assert len(list((tmp_path / ".unfinished").iterdir())) == 2
    records = WALK.run(WalkConfig(seeds=(0, 1, 2)), out=tmp_path)
    assert _ends(records) == _ends(WALK.run(WalkConfig(seeds=(0, 1, 2))))
    assert len(list((tmp_path / ".unfinished").iterdir())) == 1


def test_a_broken_checkpoint_gives_the_one_error(tmp_path):
    stop = threading.Event()

    def stopping(task):
        measured = walk(task)
        stop.set()
        return measured

    with pytest.raises(StudyInterrupted):
        replace(WALK, measure=stopping).run(out=tmp_path, stop=stop)
    (checkpoint,) = (tmp_path / ".unfinished").rglob("*seed0")
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="truncated or foreign"):
        WALK.run(out=tmp_path)


def test_nan_metrics_are_kept(tmp_path):
    study = replace(WALK, measure=lambda task: Measurement({"x": math.nan}, {"h": Series((1,), (math.inf,))}))
    study.run(out=tmp_path)
    for record in load_records(tmp_path):
        assert math.isnan(record.summary["x"].mean)
        assert record.results[0].histories["h"].values == (math.inf,)


@pytest.mark.parametrize("table", [{"a": [1], "b": [1, 2]}, {"a": [object()]}])
def test_tables_that_no_file_can_hold_are_found_out_at_once(table):
    with pytest.raises((ValueError, TypeError)):
        replace(WALK, measure=lambda task: Measurement({}, tables={"t": table})).run()


def test_the_time_of_all_sessions_counts():
    (record,) = replace(WALK, measure=lambda task: Measurement({}, seconds=7.0, cpu_seconds=5.0)).run(
        WalkConfig(seeds=(0, 1), methods=("plain",))
    )
    assert (record.seconds, record.cpu_seconds) == (14.0, 10.0)


def test_a_configuration_of_another_study():
    with pytest.raises(TypeError, match="WalkConfig"):
        WALK.run(StudyConfig())


def test_variants_must_be_distinct():
    with pytest.raises(ValueError, match="each once"):
        WALK.run(WalkConfig(methods=("a", "a")))
    with pytest.raises(ValueError, match="one or more"):
        WALK.run(WalkConfig(methods=()))


def test_checkpoints_of_parts():
    task = Task(WalkConfig(), 0, checkpoint=Path("folder/seed0"))
    assert task.checkpoint_for("encoder") == Path("folder/seed0-encoder")
    assert Task(WalkConfig(), 0).checkpoint_for("encoder") is None


def test_the_registry_tells_the_truth_about_every_study():
    for listing in studies():
        study = find_study(listing.name)
        assert (study.name, study.summary) == (listing.name, listing.summary)
        assert issubclass(study.config, StudyConfig)
        for scale in ("quick", "laptop", "paper"):
            config = study.config(scale=scale)
            assert config.scale == scale
            known = {quantity for variant in study.variants(config) for quantity in study.quantities(config, variant)}
            from toolkit.experiments.ledger import read_paper_results

            assert known <= {result.quantity for result in read_paper_results()}


def test_an_unknown_study():
    with pytest.raises(UnknownStudy, match="did you mean mnist-mlp"):
        find_study("mnist")
    with pytest.raises(UnknownStudy, match="there are: mnist-mlp"):
        find_study("zzz")


def test_what_the_data_do_not_allow_is_told_before_anything_is_written(tmp_path):
    def check(config):
        if config.width > 2:
            raise ConfigurationError("too wide")

    study = replace(WALK, check=check)
    with pytest.raises(ConfigurationError, match="too wide"):
        study.run(WalkConfig(width=3.0), out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    assert len(study.run(WalkConfig(width=2.0, seeds=(1,)))) == 2
