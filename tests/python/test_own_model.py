"""The user's own module: it trains, is reproducible, can be kept, and is refused by name where it cannot work."""

import pickle
import queue
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Digits, small
from sklearn.base import clone
from torch import nn
from torch.nn import functional as F

import certssb as cs

Make = Callable[[], nn.Module]


class Plain(nn.Module):
    """A convolution, batch norm, a residual connection, dropout and a dense layer."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 8, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.conv(x)))
        x = F.max_pool2d(x + self.inner(x), 2)
        return self.fc(self.dropout(x).flatten(1))


class Attention(nn.Module):
    """Rows of an image as a sequence, through a transformer layer with dropout of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.register_buffer("places", torch.arange(8))
        self.embedding = nn.Embedding(8, 8)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.layer(x[:, 0] + self.embedding(self.places)).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 6, num_layers=2, dropout=0.1, batch_first=True)
        self.fc = nn.Linear(6, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.lstm(x[:, 0])[0][:, -1])


class Tied(nn.Module):
    """Tied and frozen weights, and a parametrised layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(64, 64), nn.Linear(64, 64)
        self.b.weight = self.a.weight
        self.frozen = nn.Linear(64, 32).requires_grad_(False)
        self.fc = nn.utils.parametrizations.spectral_norm(nn.Linear(32, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.frozen(F.relu(self.b(F.relu(self.a(x.flatten(1)))))))


class Drawing(nn.Module):
    """Skips a layer now and then, as told by Python's and NumPy's generators."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.fc = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        if self.training and random.random() < 0.5:
            x = self.a(x)
        return self.fc(x * (1.0 + np.random.rand()) if self.training else x)


def dense(*parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), *parts, nn.Linear(64, 10))


def normed() -> nn.Module:
    return dense(nn.utils.weight_norm(nn.Linear(64, 64)))


def own(model: Make, **settings: Any) -> cs.CertifiedClassifier:
    settings = {"n_members": 6, "alpha": 0.4, "epochs": 2} | settings
    return small(model, **settings)  # type: ignore[arg-type]


def values(clf: cs.CertifiedClassifier) -> list[np.ndarray[Any, Any]]:
    found = [clf._ensemble.values(member) for member in range(clf.n_members_)]
    return [value for value in found if value is not None]


@pytest.mark.parametrize("model", [Plain, Attention, Recurrent, Tied, Drawing])
def test_the_same_seed_gives_the_same_members_for_any_number_of_threads(digits: Digits, model: Make) -> None:
    X, y, X_test, _ = digits
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    one = own(model, n_jobs=1).fit(X[:150], y[:150])
    draws = torch.rand(1).item(), random.random(), np.random.rand()
    two = own(model, n_jobs=2).fit(X[:150], y[:150])
    assert all(np.array_equal(a, b) for a, b in zip(values(one), values(two), strict=True))
    assert np.array_equal(one.votes(X_test), two.votes(X_test))
    other = own(model, seed=1).fit(X[:150], y[:150])
    assert not any(np.array_equal(a, b) for a, b in zip(values(one), values(other), strict=True))
    # Members differ from each other, and nobody's generators were moved.
    assert len({value.tobytes() for value in values(one)}) == 6
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    assert draws == (torch.rand(1).item(), random.random(), np.random.rand())


@pytest.mark.filterwarnings("default::FutureWarning")
def test_a_module_that_cannot_be_copied_is_built_again(digits: Digits) -> None:
    clf = own(normed).fit(digits[0], digits[1])
    assert clf.score(digits[2], digits[3]) > 0.5


def test_members_learn_and_can_be_taken_out(digits: Digits) -> None:
    X, y, X_test, y_test = digits
    clf = own(Plain).fit(X, y)
    assert clf.score(X_test, y_test) > 0.6
    votes = clf.votes(X_test)
    for number in (0, 3):
        member = clf.member(number)
        assert isinstance(member, Plain) and not member.training
        assert int(member.norm.num_batches_tracked) == 2 * 4, (
            "buffers travel with the weights, in their own type"
        )
        with torch.no_grad():
            assert np.mean(member(torch.as_tensor(X_test)).argmax(1).numpy() == votes[number]) > 0.98
    with pytest.raises(cs.ParameterError, match="'number' parameter must be an integer from 0 to 5"):
        clf.member(6)
    assert clf.certify(X_test, alpha=0.4).prediction.shape == (100,)


def test_a_module_equals_the_same_network_of_ours(digits: Digits) -> None:
    """Same law, data, order of batches and optimiser: from the same weights the same training."""
    X, y, X_test, _ = digits
    reference = own("linear", epochs=1).fit(X, y)  # type: ignore[arg-type]
    start = own("linear", epochs=1, learning_rate=1e-30).fit(X, y)  # type: ignore[arg-type]
    first = start.member(0)

    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(64, 10)
            self.fc.load_state_dict(next(first.children()).state_dict())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x.flatten(1))

    clf = own(Same, epochs=1).fit(X, y)
    for a, b in zip(
        clf.member(0).state_dict().values(), reference.member(0).state_dict().values(), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-6)


SEEN: "queue.SimpleQueue[np.ndarray[Any, Any]]" = queue.SimpleQueue()


def test_noise_is_drawn_once_per_member_and_sample(digits: Digits) -> None:
    """What a member is shown: the same rows in every epoch, others than another member."""

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            SEEN.put(x.detach().numpy().copy())
            return self.fc(x.flatten(1))

    X, y = digits[0][:60], digits[1][:60]
    own(Watching, batch_size=30, n_jobs=1).fit(X, y)
    batches = []
    while not SEEN.empty():
        batches.append(SEEN.get())
    batches = [batch for batch in batches if len(batch) == 30]
    assert len(batches) == 7 * 2 * 2, "six members, and the first one again"
    epochs = [{row.tobytes() for batch in batches[i : i + 2] for row in batch} for i in range(0, 28, 2)]
    assert epochs[:2] == epochs[12:]
    for member in range(6):
        assert len(epochs[2 * member]) == 60 and epochs[2 * member] == epochs[2 * member + 1]
    assert not epochs[0] & epochs[2]
    assert not epochs[0] & {row.tobytes() for row in X}


COUNT = {"steps": 0}
SHARED = nn.Linear(64, 64)
ONE = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
WEIGHT = nn.Parameter(torch.zeros(10))
TABLE = torch.zeros(3)


class Body(nn.Module):
    """A dense layer; tests derive from it what cannot work."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> Any:
        return self.fc(x.flatten(1))


class SharedParameter(Body):
    def __init__(self) -> None:
        super().__init__()
        self.scale = WEIGHT


class ClassCounter(Body):
    steps = 0

    def forward(self, x: torch.Tensor) -> Any:
        type(self).steps += int(self.training)
        return super().forward(x)


class GlobalCounter(Body):
    def forward(self, x: torch.Tensor) -> Any:
        COUNT["steps"] += int(self.training)
        return super().forward(x)


class GlobalTensor(Body):
    def forward(self, x: torch.Tensor) -> Any:
        TABLE.add_(1.0)
        return super().forward(x)


class HiddenState(Body):
    def __init__(self) -> None:
        super().__init__()
        self.mean: Any = 0.0

    def forward(self, x: torch.Tensor) -> Any:
        if self.training:
            self.mean = x.detach().mean() + self.mean
        return super().forward(x) * (1.0 + self.mean)


class HiddenDraw(Body):
    def __init__(self) -> None:
        super().__init__()
        self.projection = torch.randn(64, 64)

    def forward(self, x: torch.Tensor) -> Any:
        return self.fc(x.flatten(1) @ self.projection)


class InPlace(Body):
    def forward(self, x: torch.Tensor) -> Any:
        x -= 0.5
        return super().forward(x)


class Detached(Body):
    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x).detach()


class Pair(Body):
    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x), x


class AlwaysDropping(Body):
    def __init__(self) -> None:
        super().__init__()
        self.always = Always()

    def forward(self, x: torch.Tensor) -> Any:
        return self.fc(self.always(x.flatten(1)))


class Always(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, 0.5)


class StaysInTraining(Body):
    def __init__(self) -> None:
        super().__init__()
        self.stuck = Stuck()


class Stuck(nn.Module):
    def train(self, mode: bool = True) -> "Stuck":
        self.training = True
        return self


class Half(Body):
    def __init__(self) -> None:
        super().__init__()
        self.fc.half()


class ExtraState(Body):
    def get_extra_state(self) -> Any:
        return {"steps": 1}


def wrong_input() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(65, 32), nn.Linear(32, 10))


def needs_an_argument(size: int) -> nn.Module:
    return nn.Linear(size, 10)


REFUSED: list[tuple[str, Any, type[Exception], str]] = [
    ("a module", Body(), cs.ParameterError, r"Got a module; pass what makes it: lambda: Body\(...\)"),
    (
        "no callable",
        3,
        cs.ParameterError,
        "'model' parameter must be the name of a built-in, a classifier with fit and predict, or a callable",
    ),
    ("an argument", needs_an_argument, cs.ParameterError, "TypeError: needs_an_argument"),
    ("no module", lambda: 3, cs.ParameterError, "one that returns int"),
    (
        "wrong input",
        wrong_input,
        cs.ParameterError,
        r"sub-module '1' \(Linear\), which raises RuntimeError: (addmm: )?mat1",
    ),
    (
        "wrong classes",
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 7)),
        cs.ShapeError,
        r"\(4, 7\) from the module itself \(Sequential\) instead; its last part is the sub-module '1' \(Linear\)",
    ),
    ("no tensor", Pair, cs.ParameterError, r"the module itself \(Pair\), which returns tuple"),
    (
        "inplace layer",
        lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 10)),
        cs.ParameterError,
        r"sub-module '0' \(ReLU\), which changes it in place",
    ),
    ("inplace", InPlace, cs.ParameterError, r"the module itself \(InPlace\), which changes it in place"),
    (
        "untrainable",
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10).requires_grad_(False)),
        cs.ParameterError,
        "trainable parameters",
    ),
    ("detached", Detached, cs.ParameterError, r"the module itself \(Detached\), behind which they have none"),
    (
        "half",
        Half,
        cs.ParameterError,
        r"sub-module 'fc' \(Linear\), whose 'weight' is float16: call .float\(\)",
    ),
    (
        "double",
        lambda: dense().double(),
        cs.ParameterError,
        r"sub-module '1' \(Linear\), whose 'weight' is float64",
    ),
    (
        "device",
        lambda: dense().to("meta"),
        cs.ParameterError,
        r"sub-module '1' \(Linear\), whose 'weight' is on the device 'meta'",
    ),
    (
        "lazy",
        lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(10)),
        cs.ParameterError,
        r"sub-module '1' \(LazyLinear\).*lazy",
    ),
    (
        "the same module",
        lambda: ONE,
        cs.ParameterError,
        r"the module itself \(Sequential\) in common",
    ),
    ("a shared part", lambda: dense(SHARED), cs.ParameterError, r"sub-module '1' \(Linear\) in common"),
    ("a shared parameter", SharedParameter, cs.ParameterError, r"share the 'scale' of the module itself"),
    ("a class attribute", ClassCounter, cs.ParameterError, "ClassCounter.steps, which all of them see"),
    ("a global", GlobalCounter, cs.ParameterError, "the global 'COUNT'"),
    ("a global tensor", GlobalTensor, cs.ParameterError, "the global 'TABLE'"),
    ("hidden state", HiddenState, cs.ParameterError, "learns 'mean' beside them"),
    ("hidden draw", HiddenDraw, cs.ParameterError, "differ in 'projection'; use register_buffer"),
    ("random in eval", AlwaysDropping, cs.ParameterError, r"sub-module 'always' \(Always\), which answers"),
    (
        "batch in eval",
        lambda: dense(nn.BatchNorm1d(64, track_running_stats=False)),
        cs.ParameterError,
        r"sub-module '1' \(BatchNorm1d\), which depends on it",
    ),
    (
        "stuck",
        StaysInTraining,
        cs.ParameterError,
        r"sub-module 'stuck' \(Stuck\), which stays in training mode",
    ),
    ("compiled", lambda: torch.compile(dense()), cs.ParameterError, r"which is compiled by torch.compile"),
    ("extra state", ExtraState, cs.ParameterError, "extra state"),
]


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
@pytest.mark.parametrize("what, model, error, message", REFUSED, ids=[case[0] for case in REFUSED])
def test_what_cannot_work_is_refused_by_name_before_training(
    digits: Digits, tmp_path: Path, what: str, model: Any, error: type[Exception], message: str
) -> None:
    clf = own(model, checkpoint=tmp_path / "members")
    with pytest.raises(error, match=message):
        clf.fit(digits[0], digits[1])
    assert not (tmp_path / "members").exists() and not hasattr(clf, "n_members_")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a second device")
def test_a_module_on_the_gpu_is_refused(digits: Digits) -> None:
    with pytest.raises(cs.ParameterError, match="is on the device 'cuda:0'"):
        own(lambda: dense().cuda()).fit(digits[0], digits[1])


def test_a_failure_in_training_names_the_member_and_keeps_the_others(digits: Digits) -> None:
    class Failing(Body):
        def forward(self, x: torch.Tensor) -> Any:
            # Two members of 8 steps pass.
            if self.training and len(x) > 4 and FAILURES.get_nowait():
                raise ValueError("no more of this")
            return super().forward(x)

    for failing in [False] * 16 + [True]:
        FAILURES.put(failing)
    clf = own(Failing, n_jobs=1)
    with pytest.raises(cs.TrainingError, match="member 2 failed: ValueError: no more of this") as caught:
        clf.fit(digits[0], digits[1])
    assert caught.value.member == 2
    # Member 0 is kept when it has been trained again, after the others.
    assert clf._unfinished is not None and clf._unfinished.n_members == 1


FAILURES: "queue.SimpleQueue[bool]" = queue.SimpleQueue()


def test_a_frame_and_a_module(digits: Digits) -> None:
    X, y, X_test, _ = digits
    names = [f"pixel {place}" for place in range(64)]
    frame, test = (pd.DataFrame(part.reshape(-1, 64), columns=names) for part in (X, X_test))
    clf = own(Body).fit(frame, pd.Series(y))
    assert list(clf.feature_names_in_) == names
    assert np.array_equal(clf.votes(test), own(Body).fit(X.reshape(-1, 64), y).votes(X_test.reshape(-1, 64)))


def test_batch_norm_needs_two_samples(digits: Digits) -> None:
    law = cs.Subsample(cs.Gaussian(0.1), size=1)
    expected = "'size' parameter must be an integer of at least 2 for the model"
    with pytest.raises(cs.ParameterError, match=expected):
        own(lambda: dense(nn.BatchNorm1d(64)), law=law).fit(digits[0], digits[1])
    assert own(Body, law=law).fit(digits[0], digits[1]).n_members_ == 6


def test_save_and_load(digits: Digits, tmp_path: Path) -> None:
    X, y, X_test, _ = digits
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])[y]
    clf = own(Plain).fit(X, names)
    clf.save(tmp_path / "ensemble")
    kinds = {path.suffix for path in (tmp_path / "ensemble").iterdir()}
    assert kinds == {".safetensors", ".json"}
    again = cs.CertifiedClassifier.load(tmp_path / "ensemble", model=Plain, n_jobs=2)
    assert np.array_equal(again.votes(X_test), clf.votes(X_test))
    assert np.array_equal(again.predict(X_test), clf.predict(X_test))
    assert again.certify(X_test).guarantee == clf.certify(X_test).guarantee
    assert again.record() == clf.record()
    assert (
        again.member(2)
        .state_dict()["norm.running_mean"]
        .equal(clf.member(2).state_dict()["norm.running_mean"])
    )
    # It goes on where it stopped, and says what that costs.
    with pytest.warns(cs.GrowthWarning):
        again.set_params(n_members=8, progress=False).fit(X, names)
    more = clone(clf).set_params(n_members=8).fit(X, names)
    assert np.array_equal(again.votes(X_test), more.votes(X_test))
    with pytest.raises(cs.ParameterError, match="what makes the members of the model 'Plain"):
        cs.CertifiedClassifier.load(tmp_path / "ensemble")
    with pytest.raises(cs.ParameterError, match="that the members were trained as, 'Plain"):
        cs.CertifiedClassifier.load(tmp_path / "ensemble", model=Attention)


def test_save_and_load_of_a_built_in(tmp_path: Path) -> None:
    X, y = cs.datasets.load_digits(classes=(0, 1))
    clf = small("discriminant", features=cs.features.Cosine(4)).fit(X[:200], y[:200])
    clf.save(tmp_path)
    again = cs.CertifiedClassifier.load(tmp_path)
    assert np.array_equal(again.votes(X[200:]), clf.votes(X[200:])) and again.features == cs.features.Cosine(
        4
    )
    with pytest.raises(cs.ParameterError, match="left out: the members are of the built-in 'discriminant'"):
        cs.CertifiedClassifier.load(tmp_path, model=Plain)


def test_a_damaged_or_foreign_folder_is_refused(digits: Digits, tmp_path: Path) -> None:
    clf = own(Body).fit(digits[0], digits[1])
    folder = tmp_path / "ensemble"
    clf.save(folder)
    with pytest.raises(cs.CheckpointError, match="made with other settings or data"):
        own(Body, seed=5).fit(digits[0], digits[1]).save(folder)
    member = folder / "member-000004.safetensors"
    content = bytearray(member.read_bytes())
    content[-1] ^= 1
    member.write_bytes(content)
    with pytest.raises(cs.CheckpointError, match="1 of 6 members are missing or damaged"):
        cs.CertifiedClassifier.load(folder, model=Body)
    with pytest.raises(cs.CheckpointError, match="no saved ensemble"):
        cs.CertifiedClassifier.load(tmp_path / "nothing")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(cs.CheckpointError, match="thesis"):
        clf.save(tmp_path / "other")


def test_a_checkpoint_goes_on_with_buffers_and_refuses_other_code(digits: Digits, tmp_path: Path) -> None:
    X, y, X_test, _ = digits
    own(Plain, checkpoint=tmp_path / "members").fit(X, y)
    files = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "members").glob("*.safetensors")}
    resumed = own(Plain, checkpoint=tmp_path / "members").set_params(n_members=7).fit(X, y)
    now = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "members").glob("*.safetensors")}
    assert len(files) == 6 and len(now) == 7 and files.items() <= now.items()
    assert np.array_equal(resumed.votes(X_test), own(Plain).set_params(n_members=7).fit(X, y).votes(X_test))

    with pytest.raises(cs.CheckpointError, match="model: 'Plain .*' there, 'Plain .*' here"):
        own(lambda: Plain(dropout=0.3), checkpoint=tmp_path / "members").fit(X, y)

    class Gelu(Plain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.gelu(self.norm(self.conv(x)))
            x = F.max_pool2d(x + self.inner(x), 2)
            return self.fc(self.dropout(x).flatten(1))

    Gelu.__name__ = "Plain"
    with pytest.raises(
        cs.CheckpointError, match="a model 'Plain .*' that is built alike but computes something else"
    ):
        own(Gelu, checkpoint=tmp_path / "members").fit(X, y)


def test_pickle_and_clone(digits: Digits) -> None:
    clf = own(Plain).fit(digits[0], digits[1])
    again = pickle.loads(pickle.dumps(clf))
    assert np.array_equal(again.votes(digits[2]), clf.votes(digits[2]))
    assert clone(clf).model is Plain


@pytest.mark.parametrize("name", ["linear", "mlp", "cnn", "resnet", "discriminant", "ridge"])
def test_a_member_of_a_built_in_is_a_module(digits: Digits, name: str) -> None:
    X, y, X_test, _ = digits
    clf = small(name, n_members=6, alpha=0.4, epochs=1).fit(X[:100], y[:100])
    member = clf.member(1)
    x = torch.as_tensor(X_test).requires_grad_(True)
    logits = member(x)
    assert np.mean(logits.argmax(1).numpy() == clf.votes(X_test)[1]) > 0.98
    logits.sum().backward()
    assert x.grad is not None and float(x.grad.abs().max()) > 0
    again = pickle.loads(pickle.dumps(member))
    assert torch.equal(again(x), logits)
    assert set(member.state_dict()) == set(clf._ensemble.parameter_names())


def test_torchvisions_resnet(digits: Digits) -> None:
    models = pytest.importorskip("torchvision.models")
    X = np.repeat(np.kron(digits[0][:20], np.ones((1, 1, 2, 2), np.float32)), 3, axis=1)
    clf = own(lambda: models.resnet18(num_classes=10), epochs=1, batch_size=10, n_jobs=2)
    clf.fit(X, digits[1][:20])
    assert clf.votes(X[:3]).shape == (6, 3)
    assert clf.member(0).state_dict()["layer4.1.bn2.running_mean"].abs().max() > 0
