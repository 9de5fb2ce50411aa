"""Schedules give torch's rates where torch has them."""

import math

import pytest
import torch
from torch.optim import lr_scheduler

from toolkit.autograd import optimizers as O
from toolkit.autograd.optimizers import schedules as S

PAIRS = {
    "Constant": (S.Constant(0.5), lambda o: lr_scheduler.ConstantLR(o, factor=1.0, total_iters=3)),
    "Exponential": (S.Exponential(0.5, 0.9), lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
    "Linear": (S.Linear(0.5 * 0.2, 0.5 * 0.8, 7), lambda o: lr_scheduler.LinearLR(o, 0.2, 0.8, total_iters=7)),
    "Polynomial": (S.Polynomial(0.5, 9, 2.5), lambda o: lr_scheduler.PolynomialLR(o, total_iters=9, power=2.5)),
    "Cosine": (S.Cosine(0.5, 20, 0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=20, eta_min=0.1)),
    "Step": (S.Step(0.5, 4, 0.3), lambda o: lr_scheduler.StepLR(o, 4, 0.3)),
    "MultiStep": (S.MultiStep(0.5, [2, 2, 9], 0.3), lambda o: lr_scheduler.MultiStepLR(o, [2, 2, 9], 0.3)),
    "Inverse": (S.Inverse(0.5, 0.1, 0.75), lambda o: lr_scheduler.LambdaLR(o, lambda t: (1 + 0.1 * t) ** -0.75)),
    "Warmup": (
        S.Warmup(S.Exponential(0.5, 0.9), 5, initial=0.5 * 0.1),
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.LinearLR(o, 0.1, 1.0, total_iters=5), lr_scheduler.ExponentialLR(o, 0.9)], [5]
        ),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_torchs_rates(name):
    schedule, make = PAIRS[name]
    reference = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = make(reference)
    for t in range(20):
        assert schedule(t) == pytest.approx(reference.param_groups[0]["lr"], rel=1e-12, abs=1e-15)
        reference.step()
        scheduler.step()


def test_ends_are_exact_and_held():
    for schedule in (S.Linear(0.1, 0.3, 3), S.Polynomial(0.1, 3, final=0.3), S.Cosine(0.1, 3, 0.3)):
        assert schedule(0) == pytest.approx(0.1, abs=1e-17)
        assert [schedule(t) for t in (3, 3.5, 1e9)] == [0.3, 0.3, 0.3]


def test_times_between_steps():
    assert S.Linear(0.0, 1.0, 4)(0.5) == 0.125
    assert S.Step(1.0, 2, 0.5)(1.999) == 1.0
    assert S.MultiStep(1.0, (2.5,), 0.5)(2.5) == 0.5


def test_exponential_stops_at_its_target():
    assert S.Exponential(1.0, 0.5, target=0.2)(100) == 0.2
    assert S.Exponential(1.0, 2.0, target=5.0)(100) == 5.0
    assert S.Exponential(1.0, 2.0, target=5.0)(1) == 2.0
    assert S.Exponential(-1.0, 2.0, target=-5.0)(100) == -5.0
    assert S.Exponential(1.0, 2.0)(1e6) == math.inf


@pytest.mark.parametrize("schedule", [pair[0] for pair in PAIRS.values()])
@pytest.mark.parametrize("t", [-1, math.nan])
def test_times_before_the_start(schedule, t):
    with pytest.raises(ValueError, match="0 or later"):
        schedule(t)


@pytest.mark.parametrize(
    "make",
    [
        lambda: S.Linear(1.0, 0.0, 0),
        lambda: S.Cosine(1.0, -1),
        lambda: S.Polynomial(1.0, 5, power=0),
        lambda: S.Step(1.0, 0),
        lambda: S.MultiStep(1.0, (3, 2)),
        lambda: S.Exponential(1.0, -0.5),
        lambda: S.Inverse(1.0, -1),
        lambda: S.Warmup(S.Constant(1.0), 0),
    ],
)
def test_schedules_that_make_no_sense(make):
    with pytest.raises(ValueError, match="bad argument"):
        make()


def test_a_plain_loop_and_the_hook_agree(bare):
    schedule = S.Warmup(S.Cosine(0.5, 10), 3)
    plain, hooked = (bare([torch.ones(1, dtype=torch.float64)]) for _ in range(2))
    by_hand, by_hook = O.SGD().setup(plain), O.SGD().setup(hooked)
    by_hook.add_hook(O.Scheduled(schedule))
    rates = []
    for _ in range(12):
        plain.p0.grad = hooked.p0.grad = torch.ones(1, dtype=torch.float64)
        by_hand.lr = schedule(by_hand.t)
        by_hand.update()
        by_hook.update()
        rates.append(by_hook.lr)
    assert plain.p0.data.item() == hooked.p0.data.item() == pytest.approx(1 - sum(map(schedule, range(12))))
    assert rates == [schedule(t) for t in range(12)]


def test_a_schedule_of_one_parameter(bare):
    link = bare([torch.ones(1), torch.ones(1)])
    optimizer = O.MomentumSGD(momentum=0.5).setup(link)
    link.p0.update_rule.add_hook(O.Scheduled(S.Constant(0.25), "momentum"))
    link.p0.grad = link.p1.grad = torch.ones(1)
    optimizer.update()
    assert (link.p0.update_rule.momentum, link.p1.update_rule.momentum) == (0.25, 0.5)


@pytest.mark.parametrize("name", ["momentum", "t", "enabled"])
def test_a_schedule_of_what_is_no_hyperparameter(name, bare):
    link = bare([torch.ones(1)])
    link.p0.grad = torch.ones(1)
    optimizer = O.SGD().setup(link)
    optimizer.add_hook(O.Scheduled(S.Constant(0.25), name))
    with pytest.raises(ValueError, match=name):
        optimizer.update()
    optimizer.remove_hook(f"Scheduled({name})")
    link.p0.update_rule.add_hook(O.Scheduled(S.Constant(0.25), name))
    with pytest.raises(ValueError, match=name):
        optimizer.update()
