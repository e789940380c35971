"""Members whose training diverges: they vote for the lowest class, are counted, and stop nobody else."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

import certssb as cs

pytestmark = pytest.mark.filterwarnings("ignore::certssb.FailedMembersWarning")

DIGITS, Y = (part[:300] for part in cs.datasets.load_digits())
ATTACKED = DIGITS.copy()
ATTACKED[7] = 3e38
LAW = cs.Subsample(cs.Gaussian(0.25), size=60)
# A label that is lowest in order and is not the first to come.
NAMES = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])[Y]


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 10)
        )

    def forward(self, x: Any) -> Any:
        return self.layers(x)


class Raising(Normed):
    """Raises at what others end with as a loss that is NaN, in the forward or in the backward pass."""

    def __init__(self, backward: bool = False) -> None:
        super().__init__()
        self.backward = backward

    def forward(self, x: Any) -> Any:
        logits = self.layers(x)
        if self.backward and logits.requires_grad:
            logits.register_hook(self.check)
        elif not self.backward:
            self.check(logits)
        return logits

    @staticmethod
    def check(values: Any) -> None:
        if not values.isfinite().all():
            raise FloatingPointError("not finite")


class RaisingBackward(Raising):
    def __init__(self) -> None:
        super().__init__(backward=True)


SEARCH = cs.Subsample(cs.SampleSpecific(0.25, start=0.2, steps=2, samples=2), size=60)
PATHS: dict[str, tuple[Any, dict[str, Any]]] = {
    "linear": ("linear", {}),
    "mlp": ("mlp", {}),
    "cnn": ("cnn", {}),
    "resnet": ("resnet", {"epochs": 1}),
    "stacks": ("mlp", {"stack": 5}),
    "convolutions in stacks": ("cnn", {"stack": 3}),
    "own module": (Normed, {}),
    "own module in stacks": (Normed, {"stack": 4}),
    "own module that raises": (Raising, {}),
    "own module that raises in the backward pass": (RaisingBackward, {}),
    "search of an own module that raises": (Raising, {"law": SEARCH}),
    "search": ("mlp", {"law": SEARCH}),
    "search in stacks": ("mlp", {"law": SEARCH, "stack": 4}),
    "search of an own module": (Normed, {"law": SEARCH}),
}


def made(model: Any = "linear", law: Any = LAW, **settings: Any) -> cs.CertifiedClassifier:
    defaults: dict[str, Any] = {"n_members": 16, "epochs": 2, "alpha": 0.4, "seed": 3, "progress": False}
    return cs.CertifiedClassifier(model, law, **(defaults | settings))


def failed(clf: cs.CertifiedClassifier) -> list[int]:
    return [m for m in range(clf.n_members_) if clf._ensemble.is_failed(m)]  # type: ignore[call-arg]


@pytest.mark.parametrize("path", PATHS)
def test_one_sample_of_3e38_costs_the_members_that_drew_it_and_nobody_else(path: str) -> None:
    model, settings = PATHS[path]
    clean = made(model, **settings).fit(DIGITS, NAMES)
    clf = made(model, **settings).fit(ATTACKED, NAMES)
    bad = failed(clf)
    assert clean.n_failed_ == 0 and 0 < len(bad) == clf.n_failed_ <= 8
    others = [m for m in range(16) if m not in bad]
    votes, scores = clf.votes(DIGITS[:70]), clf.scores(DIGITS[:70])
    assert (votes[bad] == 0).all() and clf.classes_[0] == "eight"
    assert (scores[bad, :, 0] == 1).all() and (scores[bad, :, 1:] == 0).all()
    # Who drew the sample is known from the law; all others have the same sets as without it.
    assert (votes[others] == clean.votes(DIGITS[:70])[others]).all()
    assert (votes[others] != 0).any()
    if "law" in settings:
        assert (clf.noise_magnitudes(DIGITS[:5])[bad] == np.float32(0.2)).all()


class Buggy(Normed):
    """Raises at some ordinary samples."""

    def forward(self, x: Any) -> Any:
        if self.training and x.requires_grad is False and float(x.sum()) > 1000:
            raise RuntimeError("a bug")
        return super().forward(x)


@pytest.mark.parametrize("size", [1000.0, 1e18])
def test_an_exception_among_ordinary_numbers_stays_an_error_of_its_member(size: float) -> None:
    X = DIGITS.copy()
    X[7] = size
    with pytest.raises(
        cs.TrainingError, match=r"Training of member \d+ failed: RuntimeError: a bug"
    ) as error:
        made(Buggy).fit(X, Y)
    assert isinstance(error.value.member, int)


class Unsearchable(Normed):
    """Raises once it is asked how much noise an ordinary sample of some size bears."""

    def forward(self, x: Any) -> Any:
        if x.requires_grad and float(x.detach().max()) > 50:
            raise RuntimeError("no such picture")
        return super().forward(x)


@pytest.mark.parametrize(("guarantee", "who"), [("sound", r"member \d+"), ("published", "the scout")])
def test_a_search_for_noise_that_raises_is_told_as_one(guarantee: str, who: str) -> None:
    X = DIGITS.copy()
    X[7] = 1000.0
    law = cs.SampleSpecific(0.5, guarantee=guarantee)
    with pytest.raises(
        cs.TrainingError, match=rf"^The search for noise magnitudes by {who} failed: .*no such picture"
    ):
        made(Unsearchable, law=law).fit(X, Y)


class Refusing(Normed):
    """Raises at some ordinary samples that it is asked about."""

    def forward(self, x: Any) -> Any:
        if not self.training and float(x.max()) > 50:
            raise RuntimeError("no such picture")
        return super().forward(x)


@pytest.mark.parametrize("stack", [None, 4])
def test_a_member_that_raises_when_it_is_asked_is_named_and_asked_again(stack: int | None) -> None:
    clf = made(Refusing, stack=stack).fit(DIGITS, Y)
    before, asked = clf.votes(DIGITS[:5]), DIGITS[:5].copy()
    asked[2] = 60
    for ask in (clf.votes, clf.scores, clf.predict, clf.certify):
        with pytest.raises(
            cs.TrainingError, match=r"^Member \d+ gave no answer: RuntimeError: no such picture"
        ) as error:
            ask(asked)
        assert error.value.member in range(16)
    assert (clf.votes(DIGITS[:5].copy()) == before).all()


FLAT, THREE = DIGITS.reshape(300, -1), Y % 3
COUNTED: dict[str, tuple[Any, dict[str, Any]]] = {
    "a bag": (cs.Subsample(size=60), {}),
    "a bag of any size": (cs.Subsample(rate=0.2), {}),
    "parts": (cs.Partition(8), {"n_members": None}),
}


@pytest.mark.parametrize("law", COUNTED)
def test_one_odd_label_costs_the_estimators_that_met_it_and_nobody_else(law: str) -> None:
    """A cross-validation wants three of each class: whoever adds one of a class of their own cannot stop the fit by it."""
    own, settings = COUNTED[law]
    odd = THREE.copy()
    odd[5] = 3
    model = CalibratedClassifierCV(GaussianNB(), cv=3)
    clean, clf = (made(model, own, **settings).fit(FLAT, labels, classes=range(4)) for labels in (THREE, odd))
    bad = failed(clf)
    assert clean.n_failed_ == 0 and 0 < len(bad) == clf.n_failed_ <= clf.n_members_ // 2
    assert (clf.votes(FLAT[:40])[bad] == 0).all()
    differ = (clf.votes(FLAT[:40]) != clean.votes(FLAT[:40])).any(axis=1)
    # Under a partition by contents the sample left another part.
    left = [m for m, part in enumerate(own.parts(FLAT, THREE, seed=3)) if 5 in part] if law == "parts" else []
    assert set(np.flatnonzero(differ)) <= {*bad, *left}
    assert f"The training of {len(bad)} member" in clf.certify(FLAT[:3]).guarantee


def test_an_estimator_that_refuses_most_sets_is_an_error_with_its_reason() -> None:
    small = made(KNeighborsClassifier(5), cs.Partition(50), n_members=None)
    with pytest.warns(cs.FailedMembersWarning, match="failed, as with ValueError: Expected n_neighbors"):
        small.fit(FLAT, THREE, classes=range(3))
    assert 0 < small.n_failed_ < 25
    with pytest.raises(
        cs.TrainingError, match="more than half of the members, as with ValueError: Expected n_n"
    ):
        made(KNeighborsClassifier(7), cs.Partition(50), n_members=None).fit(FLAT, THREE, classes=range(3))


def test_a_closed_form_is_not_stopped_either() -> None:
    assert made("discriminant").fit(ATTACKED, Y).votes(DIGITS[:5]).shape == (16, 5)


def test_the_published_form_gives_every_member_every_sample() -> None:
    law = cs.SampleSpecific(0.25, "published", steps=2, samples=2)
    with pytest.raises(cs.TrainingError, match="more than half of the 16 members"):
        made(law=law).fit(ATTACKED, Y)


def test_more_than_half_is_an_error_whatever_the_threads_and_when_fitted_again(tmp_path: Path) -> None:
    law = cs.Subsample(cs.Gaussian(0.25), size=220)
    said = set()
    for jobs in (1, 2, 2):
        clf = made(law=law, n_jobs=jobs, checkpoint=tmp_path / str(jobs))
        with pytest.raises(cs.TrainingError, match="more than half of the 16 members") as error:
            clf.fit(ATTACKED, Y)
        said.add((str(error.value), error.value.member))
    assert len(said) == 1 and said.pop()[1] is None


def test_just_half_is_none_and_one_more_is() -> None:
    settings: dict[str, Any] = {"law": cs.Subsample(cs.Gaussian(0.25), size=140), "seed": 9}
    bad = failed(made(n_members=40, **settings).fit(ATTACKED, Y))
    count = [sum(m < n for m in bad) for n in range(41)]
    half = [n for n in range(6, 41) if 2 * count[n] == n]
    more = [n for n in range(6, 41) if 2 * count[n] > n]
    assert made(n_members=half[0], **settings).fit(ATTACKED, Y).n_failed_ == half[0] / 2
    for n in (more[0], more[-1]):
        with pytest.raises(cs.TrainingError, match="more than half"):
            made(n_members=n, **settings).fit(ATTACKED, Y)


def test_the_mark_is_told_once_and_kept_by_files_pickles_and_growth(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        clf = made(checkpoint=tmp_path / "members").fit(ATTACKED, NAMES)
    kinds = [warning for warning in told if issubclass(warning.category, cs.FailedMembersWarning)]
    assert len(kinds) == 1 and f"of {clf.n_failed_} of the 16 members" in str(kinds[0].message)
    assert "'eight'" in str(kinds[0].message)
    votes, bad = clf.votes(DIGITS[:40]), failed(clf)
    fingerprint = clf.save(tmp_path / "saved")
    loaded = cs.CertifiedClassifier.load(tmp_path / "saved", fingerprint=fingerprint)
    resumed = made(checkpoint=tmp_path / "members").fit(ATTACKED, NAMES)
    with pytest.warns(cs.GrowthWarning):
        grown = made(checkpoint=tmp_path / "members", n_members=20).fit(ATTACKED, NAMES)
    for other in (loaded, pickle.loads(pickle.dumps(clf)), resumed, grown):
        assert [m for m in failed(other) if m < 16] == bad and other.n_failed_ == len(failed(other))
        assert (other.votes(DIGITS[:40])[:16] == votes).all()
    assert resumed.execution_ == "nothing was left to train"
    assert grown.n_members_ == 20 and loaded.save(tmp_path / "again") == fingerprint
    with pytest.raises(cs.ParameterError, match="did not diverge"):
        clf.member(bad[0])


def test_guarantees_say_how_many() -> None:
    clf = made().fit(ATTACKED, NAMES)
    certs = clf.certify(DIGITS[:5])
    sentence = f"The training of {clf.n_failed_} members failed; they vote for the lowest class."
    assert sentence in certs.guarantee and sentence in pickle.loads(pickle.dumps(certs))[:2].guarantee
    assert "failed" not in made().fit(DIGITS, NAMES).certify(DIGITS[:5]).guarantee


@pytest.mark.parametrize("path", ["mlp", "cnn", "stacks", "own module", "search", "search of an own module"])
def test_one_test_input_of_3e38_costs_its_own_answer_only(path: str) -> None:
    model, settings = PATHS[path]
    clf = made(model, **settings).fit(DIGITS, NAMES)
    asked = DIGITS[:70].copy()
    asked[3] = 3e38
    votes, plain = clf.votes(asked), clf.votes(DIGITS[:70])
    rest = np.arange(70) != 3
    assert (votes[:, rest] == plain[:, rest]).all()
    assert np.isfinite(clf.scores(asked)).all()
    assert (votes[:, 3] == clf.scores(asked)[:, 3].argmax(-1)).all()
    if path in ("mlp", "stacks"):
        assert (votes[:, 3] == 0).all()
        with pytest.raises(
            cs.TrainingError, match=r"Member \d+ gave no answer: its logits are infinite or NaN"
        ):
            clf.votes(asked[3:4])
