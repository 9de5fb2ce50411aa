"""Training of decoders: what it counts, that it learns, resumes exactly, and runs the same in two processes."""

import json
import math
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from toolkit.core.errors import CheckpointError
from toolkit.grammars.conditioning import Conditioning, Vocabulary, condition, sequences
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.models import Decoder
from toolkit.grammars.processes import Processes
from toolkit.grammars.text import from_text
from toolkit.grammars.training import DecoderTraining, TrainingConfig, _FreshBatches, _Run, train_decoder

TOY = "20|011//210|10;120|10/02|12/20|020//101|02/021|220/121|201;21|201/012|02/112|10//222|200/00|12/211|22"
SMALL = TrainingConfig(Conditioning(2), n_steps=12, batch_size=24, size=(16, 1, 2))
ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def family() -> GrammarFamily:
    return from_text(TOY)


def run(family: GrammarFamily, config: TrainingConfig = SMALL, **options: object) -> DecoderTraining:
    return train_decoder(family, config, device="cpu", **options)


def weights(model: Decoder) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


@pytest.fixture(scope="module")
def unbroken(family: GrammarFamily) -> DecoderTraining:
    return run(family)


def test_history_and_result(unbroken: DecoderTraining) -> None:
    history = unbroken.history
    assert history.n_steps == 12 and not history.interrupted
    names = {"loss", "loss with metadata", "loss without metadata", "gradient norm", "learning rate"}
    assert set(history.metrics) == names
    assert all(len(series) == 12 and all(map(math.isfinite, series.values)) for series in history.metrics.values())
    assert not unbroken.model.training
    assert all(parameter.grad is None for parameter in unbroken.model.parameters())
    json.dumps(unbroken.to_dict())
    assert "12 steps" in repr(unbroken)


def test_the_loss_is_the_mean_over_terminals_and_ends(family: GrammarFamily) -> None:
    """The first step's loss from padded rows, without groups, of the same documents and first weights."""
    config = replace(SMALL, n_steps=1, batch_size=50)
    seen = run(family, config).history
    started = _Run(family, config, ALONE)
    batches = _FreshBatches(family, config, ALONE)
    batches.take(0)
    read = batches.drawn.select(torch.arange(50))
    with torch.no_grad():
        losses = functional.cross_entropy(started.model(read.tokens).transpose(1, 2), read.targets, reduction="none")

    def mean(rows: torch.Tensor) -> float:
        return float(losses[rows][read.loss_mask[rows]].mean())

    assert seen.last("loss") == pytest.approx(mean(torch.full((50,), True)), rel=1e-5)
    assert seen.last("loss with metadata") == pytest.approx(mean(read.shown), rel=1e-5)
    assert seen.last("loss without metadata") == pytest.approx(mean(~read.shown), rel=1e-5)


def test_every_document_of_a_batch_is_read_once(family: GrammarFamily) -> None:
    batches = _FreshBatches(family, replace(SMALL, batch_size=100), ALONE)
    drawn = set()
    for index in range(3):
        batch = batches.take(index)
        vocabulary = Vocabulary.of(family)
        rows, start = [], 0
        for n, width in batch.shapes:
            rows += batch.tokens[start : start + n * width].reshape(n, width).tolist()
            assert batch.positions[start : start + n * width].reshape(n, width).tolist() == [list(range(width))] * n
            start += n * width
        assert start == len(batch.tokens) == len(batch.targets) == len(batch.counts) == len(batch.shown)
        texts = sorted(tuple(t for t in row if t != vocabulary.eos) for row in rows)
        chosen = batches.drawn.select(torch.arange(index * 100, index * 100 + 100))
        assert texts == sorted(tuple(t for t in row if t != vocabulary.eos) for row in chosen.tokens.tolist())
        assert batch.n_counted == int(batch.counts.sum()) == int(chosen.loss_mask.sum())
        assert batch.n_shown == int((batch.counts & batch.shown).sum())
        drawn.add(tuple(texts))
    assert len(drawn) == 3
    # Sorted into groups: less than 15 % of what is computed stands behind the ends.
    assert batch.n_counted + 3 * 100 > 0.85 * len(batch.tokens)


def test_batches_depend_on_seed_and_number_alone(family: GrammarFamily) -> None:
    config = replace(SMALL, batch_size=64)
    forward, backward = _FreshBatches(family, config, ALONE), _FreshBatches(family, config, ALONE)
    last = forward.updates_a_draw + 1
    ahead = [forward.take(index).tokens for index in range(last + 1)]
    behind = [backward.take(index).tokens for index in reversed(range(last + 1))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(ahead, behind, strict=True))
    other = _FreshBatches(family, replace(config, seed=1), ALONE).take(0).tokens
    assert not torch.equal(other, ahead[0])
    assert not torch.equal(ahead[0], ahead[forward.updates_a_draw])


def test_runs_of_one_seed_read_the_same_documents(family: GrammarFamily) -> None:
    read = []
    for conditioning, n_steps in ((Conditioning(0), 5), (Conditioning(3, 0.9), 50), (Conditioning(1, cooldown=0.5), 9)):
        batches = _FreshBatches(family, replace(SMALL, conditioning=conditioning, n_steps=n_steps), ALONE)
        batches.take(0)
        read.append(batches.drawn.tokens[:, 4:])
    assert torch.equal(read[0], read[1]) and torch.equal(read[0], read[2])


def test_cooldown_and_share_of_the_steps(family: GrammarFamily) -> None:
    cooled = replace(SMALL, conditioning=Conditioning(3, 1.0, cooldown=0.25), n_steps=8)
    history = run(family, cooled).history
    assert history.metrics["loss with metadata"].steps == tuple(range(1, 7))
    assert history.metrics["loss without metadata"].steps == (7, 8)
    baseline = run(family, replace(SMALL, conditioning=Conditioning(0), n_steps=2)).history
    assert "loss with metadata" not in baseline.metrics
    assert list(baseline["loss without metadata"]) == list(baseline["loss"])


def test_learning_rate_rises_and_falls() -> None:
    config = TrainingConfig(Conditioning(0), 1000, learning_rate=2.0, warmup_steps=100, final_share=0.05)
    rates = [config.learning_rate_at(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.02) and rates[99] == pytest.approx(2.0)
    assert rates[550] == pytest.approx(2 * (0.05 + 0.95 / 2))
    assert rates[-1] == pytest.approx(0.1, rel=1e-3) and max(rates) == pytest.approx(2.0)
    assert sorted(rates[99:], reverse=True) == rates[99:]
    short = replace(config, n_steps=10)
    assert short.learning_rate_at(1) == pytest.approx(2.0)
    assert replace(config, n_steps=1).learning_rate_at(0) == pytest.approx(2.0)


@pytest.mark.parametrize(
    "settings",
    [
        {"n_steps": -1},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"clip": 0.0},
        {"weight_decay": -1.0},
        {"weight_decay": math.nan},
        {"final_share": 2.0},
        {"betas": (0.9, 1.0)},
        {"warmup_steps": -1},
        {"seed": -1},
    ],
)
def test_impossible_settings(settings: dict) -> None:
    with pytest.raises(ValueError, match="TrainingConfig"):
        replace(SMALL, **settings)


OF_ANOTHER_KIND = """
from toolkit.grammars.conditioning import Conditioning, Vocabulary
from toolkit.grammars.family_files import from_json, from_physicslm4_json
from toolkit.grammars.models import DecoderConfig
from toolkit.grammars.named import toy_family
from toolkit.grammars.training import TrainingConfig, train_decoder

def training(**settings):
    TrainingConfig(**{"conditioning": Conditioning(1), "n_steps": 2} | settings)

for make, settings in (
    (training, {"betas": (0.9,)}), (training, {"betas": 0.9}), (training, {"learning_rate": "high"}),
    (training, {"conditioning": 2}), (training, {"bfloat16": "yes"}), (training, {"compile": True}),
    (lambda size: DecoderConfig.of(toy_family(), size), {"size": (64, 3)}),
    (lambda width: DecoderConfig(Vocabulary.of(toy_family()), 8, width), {"width": 8.0}),
    (lambda p_meta: Conditioning(1, p_meta), {"p_meta": "half"}),
    (lambda family: train_decoder(family, TrainingConfig(Conditioning(1), n_steps=2)), {"family": "toy"}),
    (lambda config: train_decoder(toy_family(), config), {"config": Conditioning(1)}),
    (from_json, {"source": None}), (from_json, {"source": 3}), (from_physicslm4_json, {"path": None}),
):
    (name,) = settings
    try:
        make(**settings)
    except (ValueError, TypeError) as error:
        assert f"bad argument '{name}'" in str(error), (settings, error)
    else:
        raise AssertionError(settings)
"""


def test_settings_of_another_kind() -> None:
    # In a process of its own: here the annotations are checked, and speak first.
    done = subprocess.run([sys.executable, "-c", OF_ANOTHER_KIND], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_too_deep_and_no_such_size(family: GrammarFamily) -> None:
    with pytest.raises(ValueError, match="depth"):
        run(family, replace(SMALL, conditioning=Conditioning(4)))
    with pytest.raises(ValueError, match="size"):
        run(family, replace(SMALL, size="7B"))


def test_no_steps(family: GrammarFamily) -> None:
    found = run(family, replace(SMALL, n_steps=0))
    assert found.history.n_steps == 0
    assert torch.equal(weights(found.model), weights(_Run(family, SMALL, ALONE).model))


def test_same_seed_same_weights(family: GrammarFamily, unbroken: DecoderTraining) -> None:
    before = torch.get_rng_state()
    again = run(family)
    assert torch.equal(weights(again.model), weights(unbroken.model))
    assert not torch.equal(weights(run(family, replace(SMALL, seed=1)).model), weights(unbroken.model))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("at", [1, 7])
def test_stopped_and_resumed_is_unbroken(
    family: GrammarFamily, unbroken: DecoderTraining, tmp_path: Path, at: int
) -> None:
    stop = threading.Event()
    path = tmp_path / "decoder.checkpoint"

    def on_step(done: int, metrics: object) -> None:
        if done == at:
            stop.set()

    first = run(family, checkpoint=path, stop=stop, on_step=on_step)
    assert first.history.interrupted and first.history.n_steps == at
    second = run(family, checkpoint=path)
    assert torch.equal(weights(second.model), weights(unbroken.model))
    for name in unbroken.history.metrics:
        assert list(second.history[name]) == list(unbroken.history[name])


def test_resuming_across_draws_of_documents(
    family: GrammarFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.grammars.training._DOCUMENTS_A_DRAW", 3 * SMALL.batch_size)
    whole = run(family)
    stop = threading.Event()
    path = tmp_path / "decoder.checkpoint"
    run(family, checkpoint=path, stop=stop, on_step=lambda done, _: stop.set() if done == 5 else None)
    assert torch.equal(weights(run(family, checkpoint=path).model), weights(whole.model))


def test_a_checkpoint_of_another_run_is_refused(family: GrammarFamily, tmp_path: Path) -> None:
    path = tmp_path / "decoder.checkpoint"
    run(family, replace(SMALL, n_steps=1), checkpoint=path)
    with pytest.raises(CheckpointError, match="conditioning"):
        run(family, replace(SMALL, n_steps=1, conditioning=Conditioning(1)), checkpoint=path)
    with pytest.raises(CheckpointError, match="family"):
        run(from_text(TOY.replace("20|011", "02|011")), replace(SMALL, n_steps=1), checkpoint=path)


def test_evaluation_sees_the_model_in_evaluation_mode(family: GrammarFamily) -> None:
    seen = []

    def evaluate(model: Decoder, done: int) -> dict[str, float]:
        seen.append((done, model.training))
        return {"done": done}

    found = run(family, replace(SMALL, n_steps=5), evaluate=evaluate, evaluate_every=2)
    assert seen == [(2, False), (4, False), (5, False)]
    assert found.history.metrics["done"].steps == (2, 4, 5)


def test_a_loss_that_is_not_finite_stops(family: GrammarFamily, tmp_path: Path) -> None:
    path = tmp_path / "decoder.checkpoint"
    run(family, replace(SMALL, n_steps=6), checkpoint=path, checkpoint_every=2, stop=_stopped_after(0))
    broken = replace(SMALL, learning_rate=1e30, warmup_steps=0)
    steps = []
    with pytest.raises(FloatingPointError, match="not finite at step"):
        run(family, broken, checkpoint=tmp_path / "broken", checkpoint_every=1, on_step=lambda n, m: steps.append(n))
    assert len(steps) < 12
    if (tmp_path / "broken").exists():
        saved = torch.load(tmp_path / "broken", weights_only=True)["state"]["model"]
        assert all(bool(w.isfinite().all()) for w in saved.values())


def _stopped_after(_: int) -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_it_learns_what_can_be_known() -> None:
    """Two grammars that are told apart by metadata only: the loss falls to the exact entropies, shown and hidden."""
    family = GrammarFamily([1, 4], [[[[[0, 1]]], [[[2, 3]]]]])
    config = TrainingConfig(Conditioning(1), 150, batch_size=32, size=(16, 1, 2), learning_rate=2e-2, warmup_steps=10)
    model = run(family, config).model
    fresh = sequences(family, 200, Conditioning(1), generator=torch.Generator().manual_seed(1), device="cpu")
    for shown, first in ((True, 0.0), (False, math.log(2))):
        read = condition(_documents(fresh), model.config.vocabulary, depth=1, shown=shown, metadata=fresh.metadata)
        with torch.no_grad():
            log_prob = model.next_token_log_prob(read.tokens, first=1)
        loss = -log_prob.gather(2, read.targets[:, 1:, None])[..., 0].mean(0)
        assert loss.tolist() == pytest.approx([first, 0, 0], abs=0.05)


def _documents(read: object) -> torch.Tensor:
    return read.tokens[:, 2:]


def test_bfloat16_trains(family: GrammarFamily, unbroken: DecoderTraining) -> None:
    found = run(family, replace(SMALL, bfloat16=True))
    assert all(parameter.dtype == torch.float32 for parameter in found.model.parameters())
    assert list(found.history["loss"]) == pytest.approx(list(unbroken.history["loss"]), rel=0.02)
    assert list(found.history["loss"]) != list(unbroken.history["loss"])


COMPILED = """
import sys
from toolkit.grammars.conditioning import Conditioning
from toolkit.grammars.text import from_text
from toolkit.grammars.training import TrainingConfig, train_decoder
for backend in (None, "eager"):
    config = TrainingConfig(Conditioning(2), n_steps=4, batch_size=24, size=(16, 1, 2), compile=backend)
    print(*train_decoder(from_text(sys.argv[1]), config, device="cpu").history["loss"])
"""


def test_compiled_trains_to_the_same_numbers() -> None:
    """In a process of its own: what checks shapes in tests cannot be compiled."""
    command = [sys.executable, "-c", COMPILED, TOY]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    plain, compiled = ([float(word) for word in line.split()] for line in done.stdout.splitlines())
    assert len(plain) == 4 and compiled == pytest.approx(plain, rel=1e-4)


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


SCRIPT = """
import os, sys, threading, torch
from pathlib import Path
from dataclasses import replace
from toolkit.grammars.conditioning import Conditioning
from toolkit.grammars.text import from_text
from toolkit.grammars.training import TrainingConfig, train_decoder
text, folder = sys.argv[1], Path(sys.argv[2])
rank = int(os.environ["RANK"])
config = TrainingConfig(Conditioning(2), n_steps=12, batch_size=24, size=(16, 1, 2))
save = folder / "shared"
stop = threading.Event()
options = dict(device="cpu", checkpoint=save)
calls = []
def on_step(n, metrics):
    calls.append(n)
    if n == 5:
        stop.set()
first = train_decoder(from_text(text), config, stop=stop, on_step=on_step, **options)
assert first.history.n_steps == 5 and first.history.interrupted, first
assert calls == ([1, 2, 3, 4, 5] if rank == 0 else []), calls
found = train_decoder(from_text(text), config, **options)
losses = found.history["loss"].tolist()
torch.save({"weights": dict(found.model.state_dict()), "loss": losses}, folder / f"{rank}.pt")
try:
    train_decoder(from_text(text), replace(config, learning_rate=1e30, warmup_steps=0), device="cpu")
except (FloatingPointError, RuntimeError) as error:
    (folder / f"{rank}.txt").write_text(type(error).__name__ + ": " + str(error))
try:
    train_decoder(from_text(text), replace(config, batch_size=1), device="cpu")
except ValueError as error:
    (folder / f"{rank}.small").write_text(str(error))
"""


def test_two_processes_of_torchrun(family: GrammarFamily, unbroken: DecoderTraining, tmp_path: Path) -> None:
    """Two processes, stopped and resumed, give the weights of one; an error of the first stops both."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(script), TOY, str(tmp_path)], env=environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for name, value in unbroken.model.state_dict().items():
        assert torch.equal(one["weights"][name], other["weights"][name])
        torch.testing.assert_close(one["weights"][name], value, rtol=1e-3, atol=1e-4)
    assert one["loss"] == other["loss"] == pytest.approx(list(unbroken.history["loss"]), rel=1e-4)
    assert "not finite" in (tmp_path / "0.txt").read_text()
    assert "first process" in (tmp_path / "1.txt").read_text()
    assert all("processes" in (tmp_path / f"{rank}.small").read_text() for rank in range(2))
