"""Stacks of members of the user's module: they are what their members are alone, or are not made and say why."""

import logging
import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits
from test_own_model import Body, Drawing, Recurrent, Tied, dense, own, values
from torch import nn
from torch.nn import functional as F

import certssb as cs
from certssb.learners.torch._gpu import convolutions, own_stream
from certssb.learners.torch._randomness import MemberStream
from certssb.learners.torch.blueprint import Blueprint

Make = Callable[[], nn.Module]


class Convolutional(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv, self.inner = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 6, 3)
        self.dropout, self.planes = nn.Dropout(dropout), nn.Dropout2d(dropout)
        self.fc = nn.Linear(6 * 9, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.planes(F.relu(self.inner(self.dropout(F.relu(self.conv(x))))))
        return self.fc(F.max_pool2d(x, 2).flatten(1))


class Residual(nn.Module):
    """Batch norm and a shortcut. No bias before batch norm: its gradient is rounding, which Adam takes for a direction."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv, self.inner = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.dropout, self.fc = nn.BatchNorm2d(8), nn.Dropout(dropout), nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.conv(x)))
        x = F.max_pool2d(x + self.inner(x), 2)
        return self.fc(self.dropout(x).flatten(1))


class Attention(nn.Module):
    """Attention by itself, and inside a transformer's layer."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=dropout, batch_first=True)
        self.register_buffer("places", torch.arange(8))
        self.embedding, self.fc = nn.Embedding(8, 8), nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, 0] + self.embedding(self.places)
        return self.fc(self.layer(self.attention(x, x, x)[0]).mean(1))


class Buffers(Body):
    """Buffers of two types that are replaced, not written to; a frozen and a tied weight."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.tied = nn.Linear(64, 64).requires_grad_(False), nn.Linear(64, 64)
        self.tied_too = nn.Linear(64, 64)
        self.tied_too.weight = self.tied.weight
        self.register_buffer("mean", torch.zeros(64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> Any:
        x = x.flatten(1)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
            self.steps = self.steps + 1
        return self.fc(self.tied_too(F.relu(self.tied(self.frozen(x - self.mean)))))


class Noisy(Body):
    """Draws in ways of its own, with and without a tensor at hand."""

    def forward(self, x: torch.Tensor) -> Any:
        x = x.flatten(1)
        if self.training:
            x = x + 0.1 * torch.randn_like(x) * torch.rand(64, device=x.device)
        return self.fc(x)


STACKED: dict[str, Make] = {
    "linear": Body,
    "cnn": Convolutional,
    "batch norm": lambda: dense(nn.BatchNorm1d(64), nn.GroupNorm(2, 64), nn.LayerNorm(64)),
    "residual": Residual,
    "attention": Attention,
    "buffers": Buffers,
    "cnn with dropout": lambda: Convolutional(0.3),
    "residual with dropout": lambda: Residual(0.3),
    "attention with dropout": lambda: Attention(0.3),
    "alpha dropout": lambda: dense(nn.AlphaDropout(0.2)),
    "noise": Noisy,
}


@pytest.mark.parametrize("name", STACKED)
def test_members_of_a_stack_are_what_they_are_alone(digits: Digits, name: str) -> None:
    """Two epochs of two batches: another mask of dropout, or a buffer left behind, would show."""
    X, y, X_test, _ = digits
    settings = {"n_jobs": 1, "batch_size": 75, "learning_rate": 0.003}
    alone = own(STACKED[name], **settings).fit(X[:150], y[:150])
    together = own(STACKED[name], stack=3, **settings).fit(X[:150], y[:150])
    assert together.execution_ == "stacks of 3 by torch.func.vmap, 1 thread of the CPU"
    assert alone.execution_ == "one by one, 1 thread of the CPU"
    for a, b in zip(values(alone), values(together), strict=True):
        assert np.abs(a - b).max() <= 1e-3 * np.abs(a).max()
    apart = np.abs(alone.scores(X_test) - together.scores(X_test))
    assert apart.max() < 1e-2, "votes are asked of stacks as well"
    assert np.mean(alone.votes(X_test) == together.votes(X_test)) > 0.99
    assert alone.record() == together.record(), "a stack is how the work is done, and no part of the record"


def test_a_stack_does_not_depend_on_threads(digits: Digits) -> None:
    X, y, X_test, _ = digits
    one, two = (own(lambda: Residual(0.3), stack=2, n_jobs=n).fit(X[:150], y[:150]) for n in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(values(one), values(two), strict=True))
    assert np.array_equal(one.votes(X_test), two.votes(X_test))
    assert two.execution_ == "stacks of 2 by torch.func.vmap, 2 threads of the CPU"


class Deciding(Body):
    """Control flow that depends on data."""

    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(2 * x if self.fc.bias[0].item() > 0 else x)


class Counting(Body):
    """Looks at data from its twelfth pass on, when the trial is over."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    def forward(self, x: torch.Tensor) -> Any:
        self.passes += int(self.training)
        return super().forward(x if self.passes < 12 else x * (1.0 + float(x.mean())))


class Arrays(Body):
    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x + float(x.detach().cpu().numpy().mean()) if self.training else x)


class InPlaceInside(Body):
    """Writes members' values into a tensor that is no member's."""

    def forward(self, x: torch.Tensor) -> Any:
        shifted = torch.zeros(x.shape, device=x.device)
        shifted += x
        return super().forward(shifted)


ALONE: dict[str, tuple[Make, str]] = {
    "recurrent": (Recurrent, "RuntimeError: Batching rule not implemented for aten::lstm"),
    "other generators": (Drawing, "it draws from numpy and random, one value for all members"),
    "control flow": (Deciding, r"RuntimeError: vmap: It looks like you're calling .item\(\)"),
    "arrays": (Arrays, "RuntimeError: "),
    "in place": (InPlaceInside, "RuntimeError: "),
    "spectral norm": (Tied, "RuntimeError: Batching rule not implemented"),
    "rrelu": (
        lambda: dense(nn.Linear(64, 64), nn.RReLU()),
        "RuntimeError: vmap: we do not yet support aten::rrelu",
    ),
}


@pytest.mark.parametrize("name", ALONE)
def test_what_cannot_be_stacked_is_computed_one_by_one_and_says_why(
    digits: Digits, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    X, y, X_test, _ = digits
    model, reason = ALONE[name]
    alone = own(model, n_jobs=2, stack=1).fit(X[:150], y[:150])
    caplog.set_level(logging.INFO, logger="certssb")
    tried = own(model, n_jobs=2, stack=3).fit(X[:150], y[:150])
    assert np.array_equal(alone.votes(X_test), tried.votes(X_test))
    assert all(np.array_equal(a, b) for a, b in zip(values(alone), values(tried), strict=True))
    expected = f"one by one, 2 threads of the CPU; not in stacks, since {reason}"
    assert re.match(expected, tried.execution_), tried.execution_
    decision, line = (record.getMessage() for record in caplog.records)
    assert "are computed one by one: " in decision and tried.execution_ in line


def test_a_stack_that_fails_after_the_trial_is_trained_one_by_one(digits: Digits) -> None:
    X, y = digits[0][:150], digits[1][:150]
    settings = {"batch_size": 15, "n_jobs": 1, "epochs": 1}
    alone = own(Counting, **settings).fit(X, y)
    # Ten passes work in a stack; in the next epoch it fails, and its members begin again.
    for epochs, failed in ((1, False), (2, True)):
        tried = own(Counting, stack=3, **(settings | {"epochs": epochs})).fit(X, y)
        assert ("then one by one, since a stack failed: Training of member" in tried.execution_) == failed
    alone = own(Counting, **(settings | {"epochs": 2})).fit(X, y)
    assert all(np.array_equal(a, b) for a, b in zip(values(alone), values(tried), strict=True))


def is_stacked(x: torch.Tensor) -> bool:
    return bool(torch._C._functorch.is_batchedtensor(x))  # type: ignore[attr-defined]


class OtherLogits(Body):
    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x * (1.1 if is_stacked(x) else 1.0))


class OtherGradients(Body):
    def forward(self, x: torch.Tensor) -> Any:
        logits = super().forward(x)
        return logits.detach() + 0.9 * (logits - logits.detach()) if is_stacked(x) else logits


class OtherBuffers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 10)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.passes.add_(2.0 if is_stacked(x) else 1.0)
        return self.fc(x.flatten(1))


class OtherVotes(Body):
    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x * (1.0 if self.training or not is_stacked(x) else 1.1))


@pytest.mark.parametrize(
    "model, reason",
    [
        (OtherLogits, "logits and gradients differ in a stack"),
        (OtherGradients, "logits and gradients differ in a stack"),
        (OtherBuffers, "buffers differ in a stack"),
        (OtherVotes, "logits in evaluation mode differ in a stack"),
    ],
)
def test_the_trial_finds_a_stack_that_is_something_else(model: Make, reason: str) -> None:
    blueprint = Blueprint(model, (1, 8, 8), 10)
    blueprint.try_stacks("cpu", 4)
    assert (blueprint.stacks, blueprint.why_not) == (False, reason)


def test_the_trial_leaves_torchs_switches_alone() -> None:
    for switch in (True, False):
        torch.backends.cudnn.allow_tf32 = switch
        try:
            with convolutions(tf32=not switch):
                assert torch.backends.cudnn.allow_tf32 != switch
            Blueprint(Body, (1, 8, 8), 10).try_stacks("cpu", 4)
            assert torch.backends.cudnn.allow_tf32 == switch
        finally:
            torch.backends.cudnn.allow_tf32 = True


def test_nothing_is_tried_where_there_are_no_stacks() -> None:
    for stack in (None, 1):
        blueprint = Blueprint(Body, (1, 8, 8), 10)
        blueprint.try_stacks("cpu", stack)
        assert (blueprint.stacks, blueprint.why_not) == (False, None)


DRAWS: list[Callable[[torch.Tensor], torch.Tensor]] = [
    lambda x: F.dropout(x, 0.4),
    lambda x: F.dropout2d(x, 0.4),
    torch.randn_like,
    lambda x: torch.rand(5) + 0 * x[..., :1],
    lambda x: x.clone().exponential_(),
    lambda x: torch.bernoulli(x.sigmoid()),
    lambda x: torch.native_dropout(x, 0.4, True)[0],
]


@pytest.mark.parametrize("number", range(len(DRAWS)))
def test_a_member_draws_the_same_in_a_stack_and_for_any_layout(number: int) -> None:
    draw, seeds = DRAWS[number], [7, 8, 9]
    x = torch.rand(3, 4, 2, 6, 5)
    with MemberStream(seeds, {"torch"})():
        together = [torch.func.vmap(draw, randomness="different")(x) for _ in range(2)]
    for member, seed in enumerate(seeds):
        for images in (x[member], x[member].to(memory_format=torch.channels_last)):
            with MemberStream([seed], {"torch"})():
                for drawn in together:
                    assert torch.equal(drawn[member], draw(images))
    assert not torch.equal(together[0], together[1]) and not torch.equal(together[0][0], together[0][1])


def test_what_is_not_drawn_member_by_member_is_refused() -> None:
    with MemberStream([1, 2, 3], {"torch"})(), pytest.raises(RuntimeError, match="member by member"):
        torch.rand(4, 2)
    with pytest.raises(RuntimeError, match="cannot be drawn for several members"):
        MemberStream([1, 2], {"torch", "random"})


def test_sample_specific_noise_of_members_in_a_stack(digits: Digits) -> None:
    X, y, X_test, _ = digits
    settings = {"law": cs.SampleSpecific(0.25, steps=2), "n_jobs": 1, "learning_rate": 0.003}
    alone, together = (own(Residual, stack=stack, **settings).fit(X[:100], y[:100]) for stack in (1, 3))
    assert together.execution_.startswith("stacks of 3")
    assert np.abs(alone.scores(X_test) - together.scores(X_test)).max() < 0.02


def test_a_cascade_and_a_checkpoint(digits: Digits, tmp_path: Any) -> None:
    X, y = digits[0][:100], digits[1][:100]
    law = cs.Cascade([cs.Gaussian(0.25), cs.Gaussian(0.5)])
    clf = own(Residual, law=law, n_members=9, stack=3, n_jobs=1, checkpoint=tmp_path / "members").fit(X, y)
    assert clf.execution_ == "stacks of 3 by torch.func.vmap, 1 thread of the CPU"
    again = own(Residual, law=law, n_members=9, stack=3, checkpoint=tmp_path / "members").fit(X, y)
    assert again.execution_ == "nothing was left to train"


def test_stacks_of_a_built_in(digits: Digits) -> None:
    clf = own("cnn", stack=2, n_jobs=2, epochs=1).fit(digits[0][:60], digits[1][:60])  # type: ignore[arg-type]
    assert clf.execution_ == "stacks of 2, 2 threads of the CPU"
    with pytest.raises(cs.ParameterError, match="'stack' parameter must be an integer of at least 1"):
        own("cnn", stack=0).fit(digits[0][:60], digits[1][:60])  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", STACKED)
def test_members_of_a_stack_on_a_gpu(digits: Digits, name: str) -> None:
    """Dropout is drawn by the GPU's own generator, for a member alone as in a stack."""
    X, y, X_test, _ = digits
    settings = {"device": "cuda", "batch_size": 75, "learning_rate": 0.003}
    alone, together = (
        own(STACKED[name], stack=stack, **settings).fit(X[:150], y[:150]) for stack in (1, None)
    )
    assert "CUDA stream" in alone.execution_
    assert together.execution_.startswith("stacks of ") or "not in stacks" in together.execution_
    assert np.abs(alone.scores(X_test) - together.scores(X_test)).mean() < 0.01


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_thread_has_a_stream_of_its_own() -> None:
    streams = []

    def look() -> None:
        own_stream(0)
        streams.append(torch.cuda.current_stream().cuda_stream)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join()
    assert len({*streams, torch.cuda.current_stream().cuda_stream}) == 3
