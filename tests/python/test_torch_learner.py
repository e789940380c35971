"""The learner of the user's modules, driven from Python: its members beside those of a loop that anybody would write."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import certssb as cs
from certssb.learners.torch._optimisers import Adam
from certssb.learners.torch._tensors import Values
from certssb.learners.torch._training import batches
from certssb.learners.torch.blueprint import Blueprint
from certssb.modules import BuiltInModule

SHAPE = (1, 6, 6)


class Net(nn.Module):
    """A convolution, batch norm, dropout, a frozen layer and a counter."""

    def __init__(self, p: float = 0.4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(p)
        self.fc, self.frozen = nn.Linear(36, 3), nn.Linear(36, 3)
        self.frozen.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(torch.relu(self.norm(self.conv(x))), 2).flatten(1)
        return self.fc(self.drop(x)) + 0.1 * self.frozen(x)


class Job(SimpleNamespace):
    """What the core tells a learner."""

    def order(self, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        rows = [np.random.default_rng([number, epoch]).permutation(self.n) for number in self.numbers]
        return np.stack(rows).astype(np.int64)

    def stopped(self) -> bool:
        self.asked += 1
        return self.asked > self.patience


def job(numbers: tuple[int, ...] = (0,), **changes: Any) -> Job:
    seeds = {"init_seeds": [90 + m for m in numbers], "model_seeds": [50 + m for m in numbers]}
    settings = {"n": 21, "n_classes": 3, "epochs": 3, "batch_size": 8, "learning_rate": 0.01, "search": None}
    rest = {"device": "cpu", "precision": "f32", "asked": 0, "patience": 10**9}
    return Job(**({"numbers": list(numbers)} | seeds | settings | rest | changes))


def sets(numbers: tuple[int, ...] = (0,), n: int = 21) -> tuple[Any, Any]:
    rng = [np.random.default_rng(number) for number in numbers]
    X = np.stack([r.normal(size=(n, *SHAPE)) for r in rng]).astype(np.float32)
    return X, np.stack([np.arange(n) % 3 for _ in numbers])


def by_hand(asked: Job, X: Any, y: Any) -> tuple[nn.Module, float]:
    """Train one member without anything of the package: the module, torch's Adam, the global generator."""
    torch.manual_seed(asked.init_seeds[0])
    net = Net().train()
    optimiser = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=asked.learning_rate)
    torch.manual_seed(asked.model_seeds[0])
    for epoch in range(asked.epochs):
        total = 0.0
        for start, length in batches(len(X), asked.batch_size):
            rows = asked.order(epoch)[0][start : start + length] if length < len(X) else np.arange(len(X))
            optimiser.zero_grad()
            loss = F.cross_entropy(net(torch.from_numpy(X[rows])), torch.from_numpy(y[rows]))
            loss.backward()
            optimiser.step()
            total += loss.item() * length
    return net, total / len(X)


@pytest.fixture(autouse=True)
def _generators() -> Any:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_rng_state(before)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("batch_size", [8, 7, 10, 100])
def test_a_member_is_what_a_loop_by_hand_gives(batch_size: int) -> None:
    blueprint, asked = Blueprint(Net, SHAPE, 3), job(batch_size=batch_size)
    X, y = sets()
    values, losses = blueprint.train(asked, X.copy(), y)
    net, loss = by_hand(asked, X[0], y[0])
    own = blueprint.module(values[0]).state_dict()
    for name, tensor in net.state_dict().items():
        assert torch.allclose(own[name], tensor, rtol=1e-4, atol=2e-6), name
    assert losses[0] == pytest.approx(loss, rel=1e-5)
    again = blueprint.train(asked, X.copy(), y)
    assert np.array_equal(values, again[0]) and np.array_equal(losses, again[1])


def test_members_of_a_stack_are_what_they_are_alone() -> None:
    blueprint, numbers = Blueprint(Net, SHAPE, 3), (0, 1, 2)
    X, y = sets(numbers)
    together, losses = blueprint.train(job(numbers), X.copy(), y)
    for m in numbers:
        alone, loss = blueprint.train(job((m,)), X[m : m + 1].copy(), y[m : m + 1])
        assert np.allclose(together[m], alone[0], rtol=1e-3, atol=2e-5)
        assert losses[m] == pytest.approx(loss[0], rel=1e-4)
    inputs = np.random.default_rng(8).normal(size=(128, *SHAPE)).astype(np.float32)
    shared = blueprint.ask(job(numbers), list(together), inputs)
    own = blueprint.ask(job(numbers), list(together), np.stack([inputs] * 3))
    assert shared.shape == (3, 128, 3) and np.allclose(shared, own, atol=1e-5)
    for m in numbers:
        net = blueprint.module(together[m])
        with torch.no_grad():
            logits = net(torch.from_numpy(inputs)).numpy()
        assert np.allclose(blueprint.ask(job((m,)), [together[m]], inputs)[0], logits, atol=1e-5)
        assert np.allclose(shared[m], logits, atol=1e-4)


def test_a_member_that_diverges_is_marked_and_its_neighbours_are_not() -> None:
    blueprint = Blueprint(Net, SHAPE, 3)
    X, y = sets((0, 1))
    X[1, 0] = 1e38
    _, losses = blueprint.train(job((0, 1)), X, y)
    assert np.isfinite(losses[0]) and np.isnan(losses[1])
    _, alone = blueprint.train(job((1,)), X[1:], y[1:])
    assert np.isnan(alone[0])


def test_whoever_is_stopped_says_so_within_a_batch() -> None:
    blueprint = Blueprint(Net, SHAPE, 3)
    X, y = sets()
    values, _ = blueprint.train(job(), X.copy(), y)
    assert blueprint.train(job(patience=2), X.copy(), y) is None
    assert blueprint.ask(job(patience=1), [values[0]], np.zeros((128, *SHAPE), np.float32)) is None
    search = {
        "start": 0.3,
        "sigma_min": 0.1,
        "sigma_max": 1.0,
        "steps": 3,
        "learning_rate": 0.3,
        "samples": 4,
    }
    noise = np.random.default_rng(0).normal(size=(3, 4, *SHAPE)).astype(np.float32)
    assert blueprint.search(job(patience=1, search=search), values[0], X[0], None, noise) is None


class Band(nn.Module):
    """Class 0 where |x_0| < 1, else class 1: a band, which large noise leaves on both sides."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(30.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inside = (1.0 - x[:, 0].abs()) * self.scale
        return torch.stack([inside, -inside], 1)


def test_magnitudes_grow_and_shrink_to_what_a_sample_bears() -> None:
    blueprint = Blueprint(Band, (2,), 2)
    values = np.array([30.0], np.float32)
    X = np.array([[0.0, 0.3], [0.5, 0.3], [0.95, 0.3]], np.float32)
    noise = np.random.default_rng(2).normal(size=(60, 200, 2)).astype(np.float32)
    # In the middle R(s) = s Phi^-1(2 Phi(1/s) - 1), with probabilities up to 0.98: largest where 2 Phi(1/s) - 1 = 0.98.
    best = 1.0 / 2.326
    for start in (0.05, 0.43, 1.5):
        how = {"start": start, "sigma_min": 0.02, "sigma_max": 4.0, "steps": 60, "samples": 200}
        found = blueprint.search(job(search=how | {"learning_rate": 0.3}), values, X, None, noise)
        assert 0.75 < found[0] / best < 1.33 and found[2] < 0.8
    how |= {"learning_rate": 0.3, "start": 0.2, "sigma_min": 0.1, "sigma_max": 1.0}
    # One that the network takes for another class gets the least noise.
    other = blueprint.search(job(search=how), values, X, np.array([1, 0, 0]), noise)
    assert other[0] == pytest.approx(0.1) and other[1] > 0.25
    alone = blueprint.search(job(search=how), values, X[1:2], None, noise)
    assert alone[0] == pytest.approx(blueprint.search(job(search=how), values, X, None, noise)[1], rel=1e-5)


def test_adam_follows_the_formula_and_its_moments_are_never_subnormal() -> None:
    values = Values([("w", [4], True)], [np.array([1.0, -1.0, 0.25, 2.0], np.float32)], "cpu")
    adam, expected = Adam(values, 0.01), values.flat.double().numpy().copy()
    m, v = np.zeros(4), np.zeros(4)
    gradients = [[0.5, -2.0, 0.0, 1e-9], [0.1, 3.0, 0.0, -1e-12], [-0.7, 1e-6, 1e-3, 1e-15]]
    for t, g in enumerate(np.array(gradients), 1):
        adam.step([torch.tensor(g, dtype=torch.float32)])
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        expected -= 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    assert np.allclose(values.flat.numpy(), expected, atol=1e-6)
    tiny = np.finfo(np.float32).tiny
    for _ in range(1500):
        adam.step([torch.zeros(4)])
        for moment in adam._moments:
            assert bool(((moment == 0.0) | (moment.abs() >= tiny)).all())


def test_gradients_of_images_with_channels_innermost_are_laid_out_as_their_parameters() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8 * 36, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(torch.relu(self.conv(x)).flatten(1))

    blueprint = Blueprint(Wide, (3, 6, 6), 3)
    assert blueprint.channels_last
    X = np.random.default_rng(3).normal(size=(1, 20, 3, 6, 6)).astype(np.float32)
    y = np.arange(20)[None] % 3
    asked = job(n=20, epochs=1, batch_size=100)
    values, _ = blueprint.train(asked, X.copy(), y)
    torch.manual_seed(asked.init_seeds[0])
    net = Wide()
    optimiser = torch.optim.Adam(net.parameters(), lr=asked.learning_rate)
    F.cross_entropy(net(torch.from_numpy(X[0])), torch.from_numpy(y[0])).backward()
    optimiser.step()
    for name, tensor in blueprint.module(values[0]).state_dict().items():
        assert torch.allclose(tensor, net.state_dict()[name], atol=1e-6), name


def test_surroundings_of_the_caller_decide_nothing() -> None:
    blueprint = Blueprint(Net, SHAPE, 3)
    X, y = sets()
    expected = blueprint.train(job(), X.copy(), y)[0]
    with torch.inference_mode(), torch.autocast("cpu"), torch.device("meta"):
        assert np.array_equal(blueprint.train(job(), X.copy(), y)[0], expected)
        assert torch.is_inference_mode_enabled()
    with torch.no_grad():
        assert np.array_equal(blueprint.train(job(), X.copy(), y)[0], expected)


def test_threads_that_start_meanwhile_have_one_of_torch_and_others_the_callers() -> None:
    blueprint, seen = Blueprint(Net, SHAPE, 3), []
    torch.set_num_threads(3)

    def work() -> None:
        blueprint.enter("cpu")
        started.set()
        over.wait()
        seen.append(torch.get_num_threads())

    started, over = threading.Event(), threading.Event()
    with blueprint.starting():
        thread = threading.Thread(target=work)
        thread.start()
        started.wait()
    over.set()
    thread.join()
    assert seen == [1] and torch.get_num_threads() == 3
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [1, 3]


@pytest.mark.parametrize("name", ["linear", "mlp", "cnn", "resnet", "discriminant", "ridge"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 9, 8), (3, 17, 20)])
def test_a_built_in_as_a_module_says_what_the_member_says(name: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    y = np.arange(12) % 3
    X = rng.normal(size=(12, *shape)).astype(np.float32)
    settings = {"n_members": 3, "alpha": 0.9, "seed": 0, "epochs": 2, "progress": False, "device": "cpu"}
    clf = cs.CertifiedClassifier(name, law=cs.laws.Gaussian(0.3), **settings).fit(X, y)
    scores = clf._ensemble.scores(clf._asked(X))
    drawn = torch.get_rng_state()
    for number in range(2):
        member = clf.member(number)
        with torch.no_grad():
            own = member(torch.from_numpy(X)).softmax(-1).numpy()
        assert np.allclose(own, scores[number], atol=1e-5)
        again = BuiltInModule(name, shape, 3, clf._ensemble.values(number)).eval()
        again.load_state_dict(member.state_dict())
    assert torch.equal(drawn, torch.get_rng_state())
