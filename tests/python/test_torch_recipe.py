"""Loss and optimiser of the user's: what members become, and what is refused before training."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn
from torch.nn import functional as F

import certssb as cs
from certssb.exceptions import ParameterError
from certssb.learners.torch._recipe import Recipe
from certssb.learners.torch.blueprint import Blueprint


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))


def sgd(parameters: Any) -> Any:
    optimiser = torch.optim.SGD(parameters, lr=0.2, momentum=0.9, weight_decay=1e-2)
    return optimiser, torch.optim.lr_scheduler.StepLR(optimiser, 2, 0.5)


def focal(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """One value for each sample."""
    losses = F.cross_entropy(logits, y, reduction="none")
    return (1.0 - (-losses).exp()) ** 2 * losses


def train(recipe: Recipe, numbers: tuple[int, ...] = (0,), epochs: int = 5) -> tuple[Any, Any, Any]:
    blueprint = Blueprint(net, (5,), 3, recipe)
    X = np.stack([np.random.default_rng(m).normal(size=(20, 5)) for m in numbers]).astype(np.float32)
    y = np.stack([np.arange(20) % 3 for _ in numbers])
    seeds = [7 + m for m in numbers]
    settings = {
        "device": "cpu",
        "precision": "f32",
        "epochs": epochs,
        "batch_size": 100,
        "learning_rate": 0.01,
    }
    told = SimpleNamespace(init_seeds=seeds, model_seeds=seeds, stopped=lambda: False, **settings)
    values, losses = blueprint.train(told, X.copy(), y)
    return blueprint, values, losses


def by_hand(optimiser_of: Any, loss: Any, number: int = 0, epochs: int = 5) -> nn.Module:
    X = torch.from_numpy(np.random.default_rng(number).normal(size=(20, 5)).astype(np.float32))
    y = torch.arange(20) % 3
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7 + number)
        module = net()
    made = optimiser_of(list(module.parameters()))
    for _ in range(epochs):
        for parameter in module.parameters():
            parameter.grad = None
        loss(module(X), y).mean().backward()
        for part in made if isinstance(made, tuple) else (made,):
            part.step()
    return module


def same(blueprint: Any, values: Any, module: nn.Module) -> bool:
    own = blueprint.module(values).state_dict()
    return all(
        torch.allclose(own[name], tensor, rtol=1e-4, atol=1e-6)
        for name, tensor in module.state_dict().items()
    )


def stepping(size: int) -> Any:
    def made(parameters: Any) -> Any:
        optimiser = torch.optim.SGD(parameters, lr=0.2)
        return optimiser, torch.optim.lr_scheduler.StepLR(optimiser, size, 0.5)

    return made


def one_cycle(parameters: Any) -> Any:
    optimiser = torch.optim.SGD(parameters, lr=0.2)
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.2, total_steps=6)


def test_schedules_that_part_late_are_two_models() -> None:
    assert len({Recipe(stepping(size)).digest() for size in (9, 10, 200, 201)}) == 4
    # One that ends is no error of the module's, as long as training does not go on beyond it.
    assert Recipe(one_cycle).digest() == Recipe(one_cycle).digest() != Recipe(stepping(9)).digest()
    assert np.isfinite(train(Recipe(one_cycle), epochs=5)[1]).all()
    # Learners of a partition that were trained by another schedule do not stay.
    X, y = cs.datasets.load_digits(classes=(0, 1))
    small = lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    clf = cs.CertifiedClassifier(
        small, cs.Partition(5), epochs=12, optimizer=stepping(9), seed=0, progress=False
    )
    clf.fit(X[:60], y[:60]).set_params(optimizer=stepping(10))
    assert clf.fit(X[:61], y[:61]).n_kept_ == 0


def test_members_are_those_of_a_loop_with_the_same_optimiser_schedule_and_loss() -> None:
    for recipe, module in (
        (Recipe(optimizer=sgd), by_hand(sgd, F.cross_entropy)),
        (Recipe(loss=focal), by_hand(lambda p: torch.optim.Adam(p, lr=0.01), focal)),
        (Recipe(sgd, focal), by_hand(sgd, focal)),
        (
            Recipe(loss=nn.CrossEntropyLoss(label_smoothing=0.2)),
            by_hand(lambda p: torch.optim.Adam(p, lr=0.01), nn.CrossEntropyLoss(label_smoothing=0.2)),
        ),
    ):
        blueprint, values, losses = train(recipe)
        assert same(blueprint, values[0], module) and np.isfinite(losses).all()


def test_members_of_a_stack_are_what_they_are_alone() -> None:
    numbers = (0, 1, 2)
    blueprint, together, losses = train(Recipe(sgd, focal), numbers)
    blueprint.try_stacks("cpu", 3)
    assert blueprint.stacks and blueprint.why_not is None
    for m in numbers:
        assert same(blueprint, together[m], by_hand(sgd, focal, m))
    assert np.isfinite(losses).all()


class Clipped(torch.optim.SGD):
    """Looks at all gradients together: in a stack, members would meet in it."""

    def step(self, closure: Any = None) -> Any:
        torch.nn.utils.clip_grad_norm_([p for group in self.param_groups for p in group["params"]], 0.01)
        return super().step(closure)


def test_members_never_meet_in_an_optimiser() -> None:
    for factory in (lambda p: Clipped(p, lr=0.1), hooked):
        blueprint = Blueprint(net, (5,), 3, Recipe(optimizer=factory))
        blueprint.try_stacks("cpu", 3)
        assert not blueprint.stacks and "together" in str(blueprint.why_not)
        assert blueprint.lanes > 1
    blueprint, values, _ = train(Recipe(optimizer=lambda p: Clipped(p, lr=0.1)))
    assert same(blueprint, values[0], by_hand(lambda p: Clipped(p, lr=0.1), F.cross_entropy))


def hooked(parameters: Any) -> Any:
    optimiser = torch.optim.SGD(parameters, lr=0.1)
    optimiser.register_step_pre_hook(lambda *_: None)
    return optimiser


def test_what_trains_otherwise_is_another_model() -> None:
    def identity(recipe: Recipe) -> tuple[str, list[list[float]]]:
        blueprint = Blueprint(net, (5,), 3, recipe)
        return blueprint.name, blueprint.behaviour

    plain = identity(Recipe())
    assert plain == identity(Recipe())
    steady, decaying = identity(Recipe(lambda p: torch.optim.SGD(p, lr=0.2))), identity(Recipe(sgd))
    assert len({plain[0], steady[0], decaying[0]}) == 3
    rates = [identity(Recipe(lambda p, rate=rate: torch.optim.SGD(p, lr=rate)))[0] for rate in (0.1, 0.1001)]
    assert rates[0] != rates[1]
    assert identity(Recipe(loss=focal))[1] != plain[1]
    later = identity(Recipe(lambda p: (o := torch.optim.SGD(p, lr=0.2), warm(o, 3))))[0]
    assert later != identity(Recipe(lambda p: (o := torch.optim.SGD(p, lr=0.2), warm(o, 5))))[0]


def warm(optimiser: Any, epochs: int) -> Any:
    return torch.optim.lr_scheduler.LambdaLR(optimiser, lambda epoch: min(1.0, epoch / epochs))


SHARED = torch.optim.SGD([torch.zeros(1)], lr=0.1)
KEPT: list[float] = []


class Remembering(torch.optim.SGD):
    """Its steps depend on those of all others."""

    def step(self, closure: Any = None) -> Any:
        KEPT.append(1.0)
        self.param_groups[0]["lr"] = 0.1 / len(KEPT)
        return super().step(closure)


def remembering_loss(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    KEPT.append(1.0)
    return F.cross_entropy(logits, y) * (1.0 + 0.1 * len(KEPT))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("optimizer", "adam", "'adam'"),
        ("optimizer", SHARED, "an optimiser"),
        ("optimizer", lambda p: SHARED, "the same object twice"),
        ("optimizer", lambda p: None, "returns NoneType"),
        ("optimizer", lambda p: 1 / 0, "raises ZeroDivisionError"),
        ("optimizer", lambda p: torch.optim.LBFGS(p), "whose step raises TypeError"),
        ("optimizer", lambda p: torch.optim.SGD(p, lr=0.0), "leaves the parameters as they are"),
        ("loss", "nll", "'nll'"),
        ("loss", lambda logits, y: 1.0, "returns float"),
        ("loss", lambda logits, y: logits, "of shape (4, 3) for 4 samples"),
        ("loss", lambda logits, y: F.cross_entropy(logits.double(), y), "float64"),
        ("loss", lambda logits, y: F.cross_entropy(logits.detach(), y), "no gradient"),
        ("loss", lambda logits, y: F.cross_entropy(logits, y) / 0.0, "not finite"),
        ("loss", lambda logits, y: logits[:, 9].mean(), "raises IndexError"),
        ("loss", nn.Linear(3, 1), "Linear"),
    ],
)
def test_what_cannot_work_is_refused_by_name(name: str, value: Any, says: str) -> None:
    with pytest.raises(ParameterError, match=f"The '{name}' parameter must be") as caught:
        Blueprint(net, (5,), 3, Recipe(**{name: value}))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "recipe", [Recipe(optimizer=lambda p: Remembering(p, lr=0.1)), Recipe(loss=remembering_loss)]
)
def test_recipes_through_which_members_would_meet_are_refused(recipe: Recipe) -> None:
    KEPT.clear()
    with pytest.raises(ParameterError, match="not changed by the training of others"):
        Blueprint(net, (5,), 3, recipe).check_alone("cpu", 10)


def test_an_estimator_trains_saves_and_reads_with_them(tmp_path: Any) -> None:
    X, y = cs.datasets.load_digits(classes=(0, 1))
    X, y = X[:60].reshape(60, 64), y[:60]

    def wide() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 2))

    settings = {"n_members": 7, "alpha": 0.5, "epochs": 4, "seed": 0, "progress": False, "device": "cpu"}
    law = cs.Gaussian(0.3)
    plain = cs.CertifiedClassifier(wide, law, **settings).fit(X, y)
    own = cs.CertifiedClassifier(wide, law, optimizer=sgd, loss=focal, n_jobs=1, **settings).fit(X, y)
    assert not np.array_equal(plain.member(0)[0].weight.detach(), own.member(0)[0].weight.detach())
    again = clone(own).set_params(n_jobs=2).fit(X, y)
    assert np.array_equal(own.votes(X), again.votes(X))
    assert torch.equal(own.member(3)[0].weight, again.member(3)[0].weight)
    own.save(tmp_path / "kept")
    read = cs.CertifiedClassifier.load(tmp_path / "kept", wide, optimizer=sgd, loss=focal)
    assert np.array_equal(read.votes(X), own.votes(X)) and read.optimizer is sgd
    with pytest.raises(cs.exceptions.CertssbError):
        cs.CertifiedClassifier.load(tmp_path / "kept", wide)


@pytest.mark.parametrize("name", ["optimizer", "loss"])
def test_they_are_for_modules_of_the_users(name: str, tmp_path: Any) -> None:
    X, y = cs.datasets.load_digits(classes=(0, 1))
    clf = cs.CertifiedClassifier("linear", n_members=5, alpha=0.5, seed=0, progress=False)
    with pytest.raises(ParameterError, match=f"The '{name}' parameter must be None: it says how a module"):
        clone(clf).set_params(**{name: focal}).fit(X, y)
    clf.fit(X, y).save(tmp_path / "kept")
    with pytest.raises(ParameterError, match=f"The '{name}' parameter must be left out"):
        cs.CertifiedClassifier.load(tmp_path / "kept", **{name: focal})
