"""Learners of a partition that are trained here: what they may depend on, what attacks do to them, and what a fit keeps."""

import pickle
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import certssb as cs

Array = npt.NDArray[Any]


def digits() -> tuple[Array, Array, Array, Array]:
    X, y = cs.datasets.load_digits()
    return X[:600], y[:600], X[600:700], y[600:700]


def learners(law: cs.Partition, model: str = "discriminant", **settings: Any) -> cs.CertifiedClassifier:
    return cs.CertifiedClassifier(model, law, **{"seed": 0, "progress": False, "epochs": 3, **settings})


def fitted(law: cs.Partition, X: Array, y: Array, model: str = "discriminant") -> cs.CertifiedClassifier:
    return learners(law, model).fit(X, y, classes=range(10))


@pytest.mark.parametrize("model", ["discriminant", "linear"])
@pytest.mark.parametrize(
    "law", [cs.Partition(60), cs.Partition(20, overlap=3), cs.Partition(40, assign="features")]
)
def test_a_learner_is_a_function_of_its_samples_as_a_set(law: cs.Partition, model: str) -> None:
    X, y, X_test, _ = digits()
    # Copies, and samples of equal features and other labels, are no excuse.
    X, y = np.concatenate([X, X[:50], X[:20]]), np.concatenate([y, y[:50], (y[:20] + 1) % 10])
    first = fitted(law, X, y, model).votes(X_test)
    order = np.random.default_rng(0).permutation(len(X))
    assert (fitted(law, X[order], y[order], model).votes(X_test) == first).all()
    # And of nothing else: of what lies in other buckets, or of how much there is.
    buckets = law.buckets(X, y)
    touched = {(int(b) + s) % law.n_learners for b in buckets[:5] for s in law.shifts}
    left = np.arange(len(X)) >= 5
    again = fitted(law, X[left], y[left], model).votes(X_test)
    same = [m for m in range(law.n_learners) if m not in touched]
    assert len(same) > law.n_learners / 2 and (again[same] == first[same]).all()


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("assign", ["content", "features"])
def test_a_zero_with_another_sign_is_the_same_sample(assign: Any, kind: Any) -> None:
    # No distance lies between the two, so that a threat of norm 0 covers any number of them.
    X, y, X_test, _ = digits()
    law = cs.Partition(100, assign=assign)
    plain, signed = X.astype(kind), np.where(X == 0, -0.0, X).astype(kind)
    assert np.signbit(signed).sum() > len(X) and np.array_equal(plain, signed)
    first, second = (fitted(law, samples, y) for samples in (plain, signed))
    assert first.certify(X_test).holds(len(X), trigger_norm=0.0).all()
    assert cs.adapters.attack_size(plain, y, signed, y) == (0, 0.0, False)
    assert (first.votes(X_test) == second.votes(X_test)).all()
    assert (law.buckets(plain, y) == law.buckets(signed, y)).all()
    assert not np.signbit(cs.data.as_features(signed)).any()


def test_learners_see_what_the_law_says_in_the_order_of_contents() -> None:
    X, y, X_test, _ = digits()
    law = cs.Partition(12, overlap=2)
    parts, buckets = law.parts(X, y), law.buckets(X, y)
    for m, part in enumerate(parts):
        assert {(int(b) + s) % 24 for b in buckets[part] for s in law.shifts} >= {m}
        assert sorted(part) == sorted(
            i for i, b in enumerate(buckets) if m in {(b + s) % 24 for s in law.shifts}
        )
    assert sum(map(len, parts)) == 2 * len(X)
    order = np.random.default_rng(1).permutation(len(X))
    for part, other in zip(parts, law.parts(X[order], y[order]), strict=True):
        assert (X[part] == X[order][other]).all()
    assert (law.buckets(X, y, seed=1) != buckets).mean() > 0.8
    # Who trains elsewhere gets the same certificates.
    clf = fitted(law, X, y)
    certs = cs.certify_votes(clf.votes(X_test), law, n_train=600, n_classes=10)
    own = clf.certify(X_test)
    assert certs.to_frame().equals(own.to_frame()) and certs.guarantee == own.guarantee
    for bad in ((X, y[:-1]), (X, y - 1), (X, y.astype(str)), (X, y + 0.5)):
        with pytest.raises((cs.ParameterError, cs.ShapeError), match="'y'"):
            law.buckets(*bad)


@pytest.mark.parametrize("election", ["plurality", "run-off"])
@pytest.mark.parametrize("overlap", [1, 2])
def test_attacks_through_fit_never_turn_what_is_certified(election: Any, overlap: int) -> None:
    """Edits chosen by what they do to the votes: deletions, insertions and relabelled samples, up to the certificate."""
    X, y, X_test, _ = digits()
    X, y = X[:150], y[:150]
    law = cs.Partition(50, overlap=overlap)
    clf = fitted(law, X, y)
    certs = clf.certify(X_test, election=election)
    assert certs.n_buckets is not None
    votes, buckets = clf.votes(X_test), law.buckets(X, y)
    rng, attacked, flipped_beyond = np.random.default_rng(2), 0, 0
    for i in np.argsort(certs.n_buckets)[:: len(X_test) // 20]:
        budget = int(certs.n_buckets[i])
        winner = int(certs.prediction[i])
        counts = np.bincount(votes[:, i], minlength=10)
        counts[winner] = -1
        rival = int(counts.argmax())
        # Buckets that feed the most learners of the winner first.
        power = [
            sum(votes[(b + s) % law.n_learners, i] == winner for s in law.shifts)
            for b in range(law.n_learners)
        ]
        chosen = [int(b) for b in np.argsort(power)[::-1][: budget + 6]]
        for kind in ("delete", "insert", "relabel"):
            for beyond in (0, 6):
                X_bad, y_bad = _attack(
                    X, y, buckets, chosen[: budget + beyond], kind, (X_test[i], rival), law, rng
                )
                again = fitted(law, X_bad, y_bad).certify(X_test[i : i + 1], election=election)
                touched = set(chosen[: budget + beyond])
                if beyond == 0:
                    attacked += 1
                    assert again.prediction[0] == winner, (kind, budget, touched)
                else:
                    flipped_beyond += int(again.prediction[0] != winner)
    assert attacked >= 60 and flipped_beyond > 0, "an attack that never works says nothing"


def _attack(
    X: Array,
    y: Array,
    buckets: Array,
    chosen: list[int],
    kind: str,
    aim: tuple[Array, int],
    law: Any,
    rng: Any,
) -> tuple[Array, Array]:
    """The training set with everything in the chosen buckets deleted, overrun by the rival's, or relabelled as it.

    The certificate speaks of buckets: within one, the attacker may do as much as they like.
    """
    x, rival = aim
    inside = np.isin(buckets, chosen)
    if kind == "delete":
        return X[~inside], y[~inside]
    # Near copies of the test input under the rival's label, which fall where they fall: those in chosen buckets are kept.
    near = np.clip(x + rng.normal(0, 0.05, (40 * len(chosen) + 1, *x.shape)), 0, 1).astype(np.float32)
    labels = np.full(len(near), rival)
    lands = np.isin(law.buckets(near, labels), chosen)
    base = ~inside if kind == "relabel" else np.ones(len(X), dtype=bool)
    return np.concatenate([X[base], near[lands]]), np.concatenate([y[base], labels[lands]])


def test_one_edit_more_than_certified_turns_a_planted_case() -> None:
    """Each learner knows one far sample and says its class; an inserted one beside the test input is nearer."""
    from sklearn.neighbors import KNeighborsClassifier

    law = cs.Partition(9)
    rng = np.random.default_rng(3)
    pool = rng.random((400, 4)).astype(np.float32)
    near = (0.001 * pool + 5).astype(np.float32)
    first = [int(np.flatnonzero(law.buckets(pool, np.ones(400, int)) == b)[0]) for b in range(9)]
    X, y = pool[first], np.ones(9, dtype=int)
    edits = [int(np.flatnonzero(law.buckets(near, np.zeros(400, int)) == b)[0]) for b in range(9)]
    test = np.full((1, 4), 5.0)

    def elected(n_edits: int) -> cs.CertificateTable:
        clf = cs.CertifiedClassifier(KNeighborsClassifier(n_neighbors=1), law, seed=0, progress=False)
        X_bad = np.concatenate([X, near[edits[:n_edits]]])
        y_bad = np.concatenate([y, np.zeros(n_edits, dtype=int)])
        return clf.fit(X_bad, y_bad, classes=[0, 1]).certify(test)

    clean = elected(0)
    assert clean.n_buckets is not None and clean.prediction[0] == 1
    budget = int(clean.n_buckets[0])
    assert budget == 4 and elected(budget).prediction[0] == 1
    assert elected(budget + 1).prediction[0] == 0


@pytest.mark.parametrize("model", ["discriminant", "linear"])
def test_grown_and_shrunk_data_retrain_what_they_touch_and_come_out_as_a_first_fit(model: str) -> None:
    X, y, X_test, _ = digits()
    law = cs.Partition(40, overlap=2)
    clf = fitted(law, X[:590], y[:590], model)
    assert clf.n_kept_ == 0 and clf.seed_ == 0
    clf.fit(X, y, classes=range(10))
    buckets = law.buckets(X, y)
    touched = {(int(b) + s) % 80 for b in buckets[590:] for s in law.shifts}
    assert clf.n_kept_ == 80 - len(touched) > 55
    assert (clf.votes(X_test) == fitted(law, X, y, model).votes(X_test)).all()
    # Forgetting: three samples in the middle.
    left = ~np.isin(np.arange(600), [5, 77, 300])
    clf.fit(X[left], y[left], classes=range(10))
    touched = {(int(b) + s) % 80 for b in buckets[~left] for s in law.shifts}
    assert clf.n_kept_ == 80 - len(touched)
    assert (clf.votes(X_test) == fitted(law, X[left], y[left], model).votes(X_test)).all()
    assert clf.certify(X_test) == fitted(law, X[left], y[left], model).certify(X_test)


def test_learners_that_were_computed_in_another_way_are_not_kept(tmp_path: Path) -> None:
    """Others would be rounded otherwise, and which ones are others follows from the data."""
    X, y, X_test, _ = digits()
    law = cs.Partition(30)
    alone = learners(law, "linear").fit(X[:599], y[:599], classes=range(10))
    stacked = learners(law, "linear", stack=2).fit(X[:599], y[:599], classes=range(10))
    stacked.save(tmp_path / "stacked")
    # A folder says nothing of stacks: loaded, it is an estimator without.
    for clf in (
        pickle.loads(pickle.dumps(alone)).set_params(stack=2),
        pickle.loads(pickle.dumps(stacked)).set_params(stack=None),
        cs.CertifiedClassifier.load(tmp_path / "stacked").set_params(progress=False),
    ):
        first = learners(law, "linear", stack=clf.stack).fit(X, y, classes=range(10))
        assert clf.fit(X, y, classes=range(10)).n_kept_ == 0
        np.testing.assert_array_equal(clf.scores(X_test), first.scores(X_test))
    assert alone.fit(X, y, classes=range(10)).n_kept_ == 29
    assert stacked.fit(X, y, classes=range(10)).n_kept_ == 29


def test_what_a_fit_keeps_survives_a_pickle_and_a_folder_and_no_other_setting(tmp_path: Path) -> None:
    X, y, X_test, _ = digits()
    law = cs.Partition(60)
    clf = learners(law, seed=None).fit(X[:599], y[:599], classes=range(10))
    clf.save(tmp_path / "saved")
    votes = learners(law, seed=clf.seed_).fit(X, y, classes=range(10)).votes(X_test)
    for known in (pickle.loads(pickle.dumps(clf)), cs.CertifiedClassifier.load(tmp_path / "saved"), clf):
        seed = known.seed_
        known.set_params(progress=False).fit(X, y, classes=range(10))
        assert known.n_kept_ == 59 and known.seed_ == seed, (
            "without a seed that is given it goes on under its own"
        )
        assert (known.votes(X_test) == votes).all()
    for other in (
        {"law": cs.Partition(61)},
        {"model": "linear"},
        {"law": cs.Partition(60, assign="index")},
        {"seed": 3},
    ):
        changed = pickle.loads(pickle.dumps(clf)).set_params(**other)
        assert changed.fit(X[:-1], y[:-1], classes=range(10)).n_kept_ == 0, other


@pytest.mark.parametrize("members", ["memory", "disk"])
@pytest.mark.parametrize("law", [cs.Partition(100), cs.Partition(50, overlap=2)], ids=str)
def test_a_checkpoint_keeps_learners_whose_samples_stay(
    law: cs.Partition, members: Any, tmp_path: Path
) -> None:
    X, y, X_test, _ = digits()
    settings = {"members": members, "checkpoint": tmp_path / "kept"}

    def checked(X: Array, y: Array, n_touched: int) -> None:
        # Members that are resumed are those that the directory has.
        clf = learners(law, "linear", **settings).fit(X, y, classes=range(10))
        assert clf.n_kept_ == (0 if n_touched == 100 else 100 - n_touched)
        fresh = learners(law, "linear").fit(X, y, classes=range(10))
        np.testing.assert_array_equal(clf.scores(X_test), fresh.scores(X_test))
        assert clf.certify(X_test) == fresh.certify(X_test)
        # Whoever opens the directory finds these learners, and no others.
        again = learners(law, "linear", **settings).fit(X, y, classes=range(10))
        np.testing.assert_array_equal(again.scores(X_test), fresh.scores(X_test))

    checked(X[:-1], y[:-1], 100)
    bucket = int(law.buckets(X, y)[-1])
    clf = learners(law, "linear", **settings).fit(X, y, classes=range(10))
    assert clf.n_kept_ == 100 - len(law.shifts)
    fresh = learners(law, "linear").fit(X, y, classes=range(10))
    np.testing.assert_array_equal(clf.scores(X_test), fresh.scores(X_test))
    # What this fit has trained it can take back; what it has kept it cannot.
    clf._ensemble.discard_new(None)
    left = {number for number, _ in clf._ensemble.digests()}
    assert set(range(100)) - left == {(bucket + s) % 100 for s in law.shifts}
    # And back, and on to others: a few samples less, another label.
    checked(X[:-1], y[:-1], len(law.shifts))
    other = np.where(np.arange(len(y)) == 7, (y + 1) % 10, y)
    buckets = {
        *law.buckets(X[-1:], y[-1:]),
        *law.buckets(X[7:8], y[7:8]),
        *law.buckets(X[7:8], other[7:8]),
    }
    checked(X, other, len({(int(b) + s) % 100 for b in buckets for s in law.shifts}))


def test_a_checkpoint_keeps_nothing_that_would_be_another_learner(tmp_path: Path) -> None:
    X, y, X_test, _ = digits()
    law = cs.Partition(60)

    def fit(X: Array, y: Array, **settings: Any) -> cs.CertifiedClassifier:
        model = settings.pop("model", "linear")
        given = {"checkpoint": tmp_path / "kept", "law": law} | settings
        return learners(given.pop("law"), model, **given).fit(X, y, classes=range(10))

    fit(X[1:], y[1:])
    for other in (
        {"seed": 3},
        {"model": "discriminant"},
        {"law": cs.Partition(61)},
        {"law": cs.Partition(60, assign="index")},
        {"epochs": 2},
    ):
        with pytest.raises(cs.CheckpointError, match="other settings or data"):
            fit(X, y, **other)
    # Of other data altogether nothing stays: they were meant for another directory.
    with pytest.raises(cs.CheckpointError, match="other settings or data"):
        fit(1 - X, y)
    # Rounded otherwise, and what is others follows from the data.
    with pytest.raises(cs.CheckpointError, match="other settings or data"):
        fit(X, y, stack=2)
    # Gone on with in another way, nobody knows which learner is which.
    for path in sorted((tmp_path / "kept").glob("member-*"))[:20]:
        path.write_bytes(path.read_bytes()[:-5])
    clf = fit(X[1:], y[1:], stack=2)
    assert [digest == "0" * 64 for digest in clf._ensemble.trained_on()] == [True] * 20 + [False] * 40  # type: ignore[union-attr]
    kept = fit(X, y)
    fresh = learners(law, "linear").fit(X, y, classes=range(10))
    assert 39 <= kept.n_kept_ <= 40
    np.testing.assert_array_equal(kept.scores(X_test), fresh.scores(X_test))


@pytest.mark.parametrize("damage", ["shard", "file", "digests"])
def test_a_damaged_learner_is_trained_and_not_kept(damage: str, tmp_path: Path) -> None:
    X, y, X_test, _ = digits()
    # So many are packed into a shard when a training ends, and so few are not.
    law = cs.Partition(60 if damage == "file" else 100)
    folder = tmp_path / "kept"
    learners(law, checkpoint=folder).fit(X[1:], y[1:], classes=range(10))
    touched = int(law.buckets(X, y)[0])
    if damage == "file":
        path = folder / f"member-{(touched + 1) % 60:06d}.safetensors"
        path.write_bytes(path.read_bytes()[:-5])
    elif damage == "shard":
        (shard,) = folder.glob("members-*")
        content = bytearray(shard.read_bytes())
        content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
        shard.write_bytes(content)
    else:
        (digests,) = folder.glob("learners-*")
        digests.write_text(digests.read_text()[:-9])
        with pytest.raises(cs.CheckpointError, match="other settings or data"):
            learners(law, checkpoint=folder).fit(X, y, classes=range(10))
        return
    clf = learners(law, checkpoint=folder).fit(X, y, classes=range(10))
    assert clf.n_kept_ == 58 if damage == "file" else 30 < clf.n_kept_ < 70
    fresh = learners(law).fit(X, y, classes=range(10))
    np.testing.assert_array_equal(clf.scores(X_test), fresh.scores(X_test))


def test_a_move_that_was_killed_is_gone_on_with_in_either_direction(tmp_path: Path) -> None:
    """Killed before the manifest is another one, and before what was there is removed."""
    X, y, X_test, _ = digits()
    law = cs.Partition(60)

    def fit(n: int, folder: Path) -> cs.CertifiedClassifier:
        return learners(law, checkpoint=folder).fit(X[:n], y[:n], classes=range(10))

    fit(599, tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    fit(600, tmp_path / "new")
    for n in (599, 600):
        for manifest in ("old", "new"):
            folder = tmp_path / f"{n}-{manifest}"
            shutil.copytree(tmp_path / "old", folder)
            for path in (tmp_path / "new").iterdir():
                # Some of the learners have been written for the new data already.
                if path.name.startswith("learners-") or path.name < "member-000030":
                    shutil.copy(path, folder)
            shutil.copy(tmp_path / manifest / "manifest.json", folder)
            clf = fit(n, folder)
            fresh = learners(law).fit(X[:n], y[:n], classes=range(10))
            np.testing.assert_array_equal(clf.scores(X_test), fresh.scores(X_test))
            assert len(list(folder.glob("member-*"))) == 60
            assert len(list(folder.glob("learners-*"))) == 1


def test_learners_without_samples_vote_for_a_class_of_their_own_and_are_counted(tmp_path: Path) -> None:
    X, y, X_test, _ = digits()
    law = cs.Partition(100)
    clf = fitted(law, X[:120], y[:120])
    empty = [m for m, part in enumerate(law.parts(X[:120], y[:120])) if len(part) == 0]
    assert clf.n_idle_ == len(empty) > 10 and clf.n_failed_ == 0
    assert (clf.votes(X_test)[empty] == np.array(empty)[:, None] % 10).all()
    assert f"{len(empty)} learners had too few samples" in clf.certify(X_test).guarantee
    clf.save(tmp_path / "saved")
    kept = learners(law, checkpoint=tmp_path / "kept").fit(X[:120], y[:120], classes=range(10))
    again = learners(law, checkpoint=tmp_path / "kept").fit(X[:120], y[:120], classes=range(10))
    for other in (
        cs.CertifiedClassifier.load(tmp_path / "saved"),
        pickle.loads(pickle.dumps(clf)),
        kept,
        again,
    ):
        assert other.n_idle_ == len(empty) and (other.votes(X_test) == clf.votes(X_test)).all()
    with pytest.raises(cs.ParameterError, match="'number'"):
        clf.member(empty[0])
    # The number of parts is bounded by that of samples, of learners it is not.
    with pytest.raises(cs.ParameterError, match="'n_parts'.*at most the number of training samples, 120"):
        fitted(cs.Partition(121), X[:120], y[:120])
    assert fitted(cs.Partition(60, overlap=3), X[:120], y[:120]).n_members_ == 180


def test_settings_that_a_partition_has_no_use_for(tmp_path: Path) -> None:
    X, y, X_test, _ = digits()
    law = cs.Partition(10)
    for n_members in (9, 1000, "auto", "many", 10.5):
        with pytest.raises(
            cs.ParameterError, match="'n_members'.*10, the number of the partition's learners"
        ):
            learners(law, n_members=n_members).fit(X, y)
    assert learners(law, n_members=10).fit(X, y).n_members_ == 10
    assert cs.CertifiedClassifier().n_members is None
    clf = learners(law).fit(X, y)
    goal = cs.Until(X_test, n_poisoned=1, trigger_norm=1.0)
    with pytest.raises(cs.ParameterError, match="'until'"):
        learners(law).fit(X, y, until=goal)
    with pytest.raises(cs.ParameterError, match="'election'"):
        clf.certify(X_test, election="lottery")  # type: ignore[arg-type]
    with cs.Ledger(tmp_path / "regions.sqlite") as ledger, pytest.raises(cs.ParameterError, match="'ledger'"):
        clf.certify(X_test, ledger=ledger)
    assert "taken as received" in clf.certify(X_test).guarantee
    noisy = cs.CertifiedClassifier("discriminant", n_members=5, alpha=0.5, progress=False).fit(X, y)
    assert noisy.n_kept_ == noisy.n_idle_ == 0
    with pytest.raises(cs.ParameterError, match="'election'.*learners of a Partition alone"):
        noisy.certify(X_test, election="run-off")


def test_the_last_bits_of_a_map_do_not_move_other_samples() -> None:
    """A map whose values depend, by rounding, on how many samples it gets at once is asked for each sample alone."""

    class Rounding(cs.features.FeatureMap):
        def __call__(self, X: Array) -> Array:
            return (X.reshape(len(X), -1) * np.float32(1 + len(X) * 2**-22)).astype(np.float32)

        def describe(self) -> str:
            return "a map"

    X, y, X_test, _ = digits()
    law = cs.Partition(30)
    one, other = (learners(law, features=Rounding()).fit(X[:n], y[:n], classes=range(10)) for n in (600, 599))
    differ = (one.votes(X_test) != other.votes(X_test)).any(axis=1)
    assert differ.sum() <= 1


def test_a_learner_that_is_another_one_when_it_is_trained_again_is_refused() -> None:
    import os

    from sklearn.base import BaseEstimator, ClassifierMixin

    class Moody(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        """Deterministic on the few made-up samples of a trial, and not on those of the digits."""

        def fit(self, X: Array, y: Array) -> "Moody":
            self.classes_ = np.unique(y)
            mood = os.urandom(1)[0] if len(X) > 50 else 0
            self.favourite_ = self.classes_[mood % len(self.classes_)]
            return self

        def predict(self, X: Array) -> Array:
            return np.full(len(X), self.favourite_)

    X, y, _, _ = digits()
    with pytest.raises((cs.TrainingError, cs.ParameterError)):
        for _ in range(60):  # Twice the same mood is possible.
            cs.CertifiedClassifier(Moody(), cs.Partition(4), seed=0, progress=False).fit(
                X, y, classes=range(10)
            )


def test_a_run_on_the_command_line_and_votes_from_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from certssb.cli import main

    out = str(tmp_path / "run")
    words = [
        "run",
        "--partition",
        "60",
        "--model",
        "discriminant",
        "--n-poisoned",
        "4",
        "--election",
        "run-off",
    ]
    main([*words, "--quiet", "--out", out])
    printed = capsys.readouterr().out
    assert (
        "If all 60 members agree, a prediction survives every change of this size: at most 4 of 1,346"
        in printed
    )
    assert "the class that 60 learners elect by run-off" in printed and ", 60 members, " in printed
    table = cs.CertificateTable.load(Path(out) / "certificates-clean.npz")
    assert table.election == "run-off" and table.n_members == 60
    main(["report", out])
    page = (Path(out) / "report.html").read_text()
    assert (
        "Least certain" in page and "which is no secret. --seed" in page and "The noise was drawn" not in page
    )
    np.save(tmp_path / "votes.npy", np.ones((20, 3), dtype=np.int64))
    words = [
        "certify",
        str(tmp_path / "votes.npy"),
        "--n-train",
        "100",
        "--n-classes",
        "2",
        "--partition",
        "10",
    ]
    main([*words, "--overlap", "2", "--assign", "features", "--out", str(tmp_path / "table.npz")])
    assert "n_buckets" in capsys.readouterr().out
    assert cs.CertificateTable.load(tmp_path / "table.npz").law == cs.Partition(10, 2, "features")
    for refused, name in (
        ([*words, "--sigma", "1"], "--partition"),
        ([*words, "--subsample", "5"], "--partition"),
        ([*words[:-2], "--sigma", "1", "--overlap", "2"], "--overlap"),
        ([*words[:-2], "--sigma", "1", "--election", "run-off"], "--election"),
        ([*words, "--election", "run-off"], "election"),
        (["run", "--partition", "60", "--members", "61", "--out", out], "--members"),
    ):
        assert main(refused) == 2 and name in capsys.readouterr().err, refused


def test_a_learners_answers_do_not_depend_on_who_is_asked_beside_it() -> None:
    """In a stack the last bits of an answer hang on who else is in it, and that on which others have learned something."""
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Conv2d(1, 8, 3), torch.nn.Linear(288, 33)
            self.last = torch.nn.Linear(33, 10)

        def forward(self, x: Any) -> Any:
            return self.last(torch.relu(self.second(torch.relu(self.first(x)).flatten(1))))

    X, y = cs.datasets.load_digits()
    alone, stacked = (
        cs.CertifiedClassifier(Net, cs.Partition(12), epochs=3, seed=0, progress=False, stack=stack)
        .fit(X[:200], y[:200], classes=range(10))
        .scores(X[200:300])
        for stack in (1, 3)
    )
    np.testing.assert_array_equal(alone, stacked)


def _no_learner_of_another_release(
    model: Any, library: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> None:
    X, y, X_test, _ = digits()
    X, y, law = X[:200], y[:200], cs.Partition(25)

    def fit(X: Array, y: Array) -> cs.CertifiedClassifier:
        clf = learners(law, model, checkpoint=folder, epochs=1, **settings)
        return clf.fit(X, y, classes=range(10))

    fit(X[1:], y[1:])
    with monkeypatch.context() as other:
        other.setattr(library, "__version__", "0.0.1")
        with pytest.raises(cs.CheckpointError, match="other settings or data"):
            fit(X, y)
    kept = fit(X, y)
    assert kept.n_kept_ >= 23
    fresh = learners(law, model, epochs=1, **settings).fit(X, y, classes=range(10))
    np.testing.assert_array_equal(kept.scores(X_test), fresh.scores(X_test))


def test_learners_of_another_release_of_numpy_or_of_their_own_library_do_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    library = types.ModuleType("a_library_of_trees")
    library.__version__ = "2.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, library.__name__, library)
    kind = type("Tree", (DecisionTreeClassifier,), {"__module__": library.__name__})
    library.Tree = kind  # type: ignore[attr-defined]
    model = make_pipeline(StandardScaler(), kind(max_depth=3))
    for name, known in (("own", library), ("numpy", np)):
        _no_learner_of_another_release(model, known, tmp_path / name, monkeypatch, form="joblib")


def test_networks_of_another_release_of_torch_do_not_stay_and_kernels_do_not_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.last = torch.nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            return self.last(x.flatten(1))

    _no_learner_of_another_release(Net, torch, tmp_path / "own", monkeypatch)
    pytest.importorskip("certssb_torch")
    _no_learner_of_another_release("linear", torch, tmp_path / "stacks", monkeypatch, stack=5)
    X, y, *_ = digits()
    law, folder = cs.Partition(25), tmp_path / "kernels"
    learners(law, "linear", checkpoint=folder).fit(X[1:200], y[1:200], classes=range(10))
    monkeypatch.setattr(torch, "__version__", "0.0.1")
    monkeypatch.setattr(np, "__version__", "0.0.1")
    clf = learners(law, "linear", checkpoint=folder).fit(X[:200], y[:200], classes=range(10))
    assert clf.n_kept_ >= 23
