"""How the number of members came about is remembered, by the object, its checkpoint, its files and its copies."""

import copy
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import certssb as cs

X, y = cs.datasets.load_digits(classes=(0, 1))
X_TRAIN, Y_TRAIN, X_TEST = X[:60], y[:60], X[60:80]
GROWN = "however often members were added"


def classifier(
    n_members: Any = 12, checkpoint: Path | None = None, **settings: Any
) -> cs.CertifiedClassifier:
    law = settings.pop("law", cs.Subsample(cs.Gaussian(0.25), size=20))
    settings = {"epochs": 1, "learning_rate": 0.1, "alpha": 0.3, "seed": 3, "progress": False} | settings
    return cs.CertifiedClassifier("linear", law, n_members=n_members, checkpoint=checkpoint, **settings)


def fit(clf: cs.CertifiedClassifier, **settings: Any) -> cs.CertifiedClassifier:
    return clf.fit(X_TRAIN, Y_TRAIN, **settings)


def grows(clf: cs.CertifiedClassifier, n_members: int) -> cs.CertifiedClassifier:
    """Fit with another number, which has to be told, and to cost something."""
    with pytest.warns(
        cs.GrowthWarning, match=f"a number of members other than {n_members}.*betting bound"
    ) as told:
        fit(clf.set_params(n_members=n_members))
    assert len(told) == 1 and told[0].filename == __file__
    assert is_grown(clf)
    return clf


def is_grown(clf: cs.CertifiedClassifier) -> bool:
    """What the sentence says is what the settings allow."""
    said = GROWN in clf.certify(X_TEST).guarantee
    if said:
        with pytest.raises(cs.ParameterError, match="'bound'.*'betting'"):
            clf.certify(X_TEST, bound="clopper_pearson")
    else:
        clf.certify(X_TEST, bound="clopper_pearson")
    return said


LOOKS: dict[str, Callable[[cs.CertifiedClassifier], Any]] = {
    "certify": lambda clf: clf.certify(X_TEST),
    "votes": lambda clf: clf.votes(X_TEST),
    "scores": lambda clf: clf.scores(X_TEST),
    "predict": lambda clf: clf.predict(X_TEST),
    "predict_proba": lambda clf: clf.predict_proba(X_TEST),
    "score": lambda clf: clf.score(X[60:80], y[60:80]),
    "member": lambda clf: (pytest.importorskip("torch"), clf.member(0)),
    "pickle": pickle.dumps,
    "copy": copy.deepcopy,
}
LAWS = {"one level": None, "cascade": cs.Cascade([cs.Gaussian(0.5), cs.Gaussian(0.25)])}


@pytest.mark.parametrize("law", LAWS.values(), ids=list(LAWS))
@pytest.mark.parametrize("look", LOOKS.values(), ids=list(LOOKS))
@pytest.mark.parametrize("kept", [True, False], ids=["checkpoint", "memory"])
def test_more_members_after_a_look_cost_the_fixed_number(
    look: Callable[[cs.CertifiedClassifier], Any], kept: bool, law: cs.Law | None, tmp_path: Path
) -> None:
    settings = {} if law is None else {"law": law}
    clf = fit(classifier(checkpoint=tmp_path / "members" if kept else None, **settings))
    look(clf)
    if kept:
        clf = classifier(checkpoint=tmp_path / "members", **settings)
    grows(clf, 16)
    # For ever, and told once.
    assert is_grown(fit(clf.set_params(n_members=12)))


def test_any_number_is_planned_before_the_first_look_and_the_same_one_after_it(tmp_path: Path) -> None:
    clf = fit(classifier(checkpoint=tmp_path))
    fit(clf.set_params(n_members=20))
    fit(clf.set_params(n_members=14))
    assert not is_grown(clf)
    assert not is_grown(fit(clf)), "the same number again"
    assert not is_grown(fit(classifier(14, checkpoint=tmp_path)))


def test_fewer_members_after_a_look_are_a_choice_as_well() -> None:
    clf = fit(classifier())
    clf.certify(X_TEST)
    grows(clf, 10)


def test_an_interrupted_fit_is_gone_on_with_at_no_cost(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 5:
            raise LookupError("enough")

    for checkpoint in (None, tmp_path):
        clf = classifier(checkpoint=checkpoint, progress=stop, n_jobs=1)
        with pytest.raises(LookupError):
            fit(clf)
        resumed = (
            clf.set_params(progress=False) if checkpoint is None else classifier(16, checkpoint=checkpoint)
        )
        assert not is_grown(fit(resumed))


def until(share: float = 1.0) -> cs.Until:
    return cs.Until(X_TEST, n_poisoned=1, trigger_norm=0.1, share=share, first=10, max_members=30)


def test_growth_is_found_again_in_the_checkpoint(tmp_path: Path) -> None:
    clf = fit(classifier("auto", checkpoint=tmp_path), until=until())
    assert is_grown(clf)
    for n_members in (clf.n_members_, 12, 40):
        assert is_grown(fit(classifier(n_members, checkpoint=tmp_path)))


def test_growth_is_found_again_in_files_and_copies(tmp_path: Path) -> None:
    clf = fit(classifier("auto"), until=until())
    clf.save(tmp_path / "saved")
    loaded = cs.CertifiedClassifier.load(tmp_path / "saved")
    for other in (pickle.loads(pickle.dumps(clf)), copy.deepcopy(clf), loaded):
        assert is_grown(other)
        assert is_grown(fit(other.set_params(n_members=40, progress=False)))
    # A saved folder is a checkpoint as well.
    assert is_grown(fit(classifier(clf.n_members_, checkpoint=tmp_path / "saved")))


@pytest.mark.parametrize("law", LAWS.values(), ids=list(LAWS))
def test_what_was_handed_out_was_seen(law: cs.Law | None, tmp_path: Path) -> None:
    settings = {} if law is None else {"law": law}
    clf = fit(classifier(**settings))
    clf.save(tmp_path / "saved")
    loaded = cs.CertifiedClassifier.load(tmp_path / "saved")
    assert not is_grown(loaded)
    grows(cs.CertifiedClassifier.load(tmp_path / "saved").set_params(progress=False), 16)
    grows(pickle.loads(pickle.dumps(clf)), 16)
    grows(clf, 16)


def test_another_process_that_grows_the_directory_is_noticed_at_the_next_look(tmp_path: Path) -> None:
    mine, other = fit(classifier(checkpoint=tmp_path)), classifier(checkpoint=tmp_path)
    assert not is_grown(mine)
    grows(other, 16)
    assert is_grown(mine)


def test_magnitudes_that_members_find_are_answers_and_those_of_a_scout_are_none() -> None:
    for guarantee, seen in (("sound", True), ("published", False)):
        clf = fit(classifier(law=cs.SampleSpecific(0.5, steps=1, guarantee=guarantee)))
        clf.noise_magnitudes(X_TEST)
        if seen:
            grows(clf, 16)
        else:
            assert not is_grown(fit(clf.set_params(n_members=16)))


def test_two_numbers_that_were_planned_before_anybody_looked_are_a_choice_once_both_were_seen(
    tmp_path: Path,
) -> None:
    few, many = fit(classifier(checkpoint=tmp_path)), fit(classifier(16, checkpoint=tmp_path))
    assert not is_grown(few), "12 members, planned by a process that went on while another one planned 16"
    assert is_grown(many) and is_grown(few)


def test_levels_of_a_cascade_and_the_same_noise_alone_share_what_was_seen(tmp_path: Path) -> None:
    law = LAWS["cascade"]
    assert isinstance(law, cs.Cascade)
    alone = fit(classifier(law=law.levels[1], checkpoint=tmp_path / "level-1"))
    alone.certify(X_TEST)
    grows(classifier(law=law, checkpoint=tmp_path), 16)
    # The number was one for both levels, so the other one is grown by now.
    assert is_grown(fit(classifier(16, law=law.levels[0], checkpoint=tmp_path / "level-0")))


def test_other_members_have_a_history_of_their_own(tmp_path: Path) -> None:
    clf = fit(classifier())
    clf.certify(X_TEST)
    assert not is_grown(fit(clf.set_params(n_members=16, epochs=2)))
    assert not is_grown(fit(clf.set_params(n_members=20, epochs=1, seed=4)))
    fresh = fit(classifier(checkpoint=tmp_path / "a"))
    fresh.certify(X_TEST)
    assert not is_grown(fit(fresh.set_params(n_members=16, seed=5, checkpoint=tmp_path / "b")))


def test_a_directory_that_is_gone_hinders_no_answer(tmp_path: Path) -> None:
    import shutil

    clf = fit(classifier(checkpoint=tmp_path / "members"))
    shutil.rmtree(tmp_path / "members")
    assert not is_grown(clf)
    assert not (tmp_path / "members").exists()


KILLED = """
import os, sys
import certssb as cs
from certssb import _core
import test_history as t
folder, look = sys.argv[1:]
clf = t.fit(t.classifier(checkpoint=folder))
def die(*_):
    os._exit(9)
# The moment in which the answer would be there.
clf._ensemble = type("Dying", (), {
    "see": lambda self, folder: inner.see(folder), "votes": die, "scores": die,
    "__getattr__": lambda self, name: getattr(inner, name),
})() if (inner := clf._ensemble) else None
getattr(clf, look)(t.X_TEST)
"""


@pytest.mark.parametrize("look", ["certify", "votes", "scores"])
def test_a_process_that_dies_at_its_first_look_has_told_before(look: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "members"), look],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 9, ran.stderr
    grows(classifier(checkpoint=tmp_path / "members"), 16)


def test_a_fact_that_is_none_is_refused(tmp_path: Path) -> None:
    clf = fit(classifier(checkpoint=tmp_path))
    (tmp_path / "history-seen-12.json").write_text("")
    with pytest.raises(cs.CheckpointError, match="it holds 'history-seen-12.json'"):
        clf.certify(X_TEST)


def test_why_thirty_looks_cannot_be_certified_with_a_fixed_number() -> None:
    """The figure of the issue, and what the bound that a grown ensemble gets makes of it."""
    # Every sample is an ensemble of its own whose members toss coins: there is no class to be certified.
    votes = (np.random.default_rng(0).random((600, 400)) < 0.5).astype(int)

    def false(bound: Any) -> float:
        tables = (
            cs.certify_votes(votes[:n], cs.Gaussian(1.0), n_train=10, n_classes=2, alpha=0.05, bound=bound)
            for n in range(20, 601, 20)
        )
        return float(np.any([~table.abstained for table in tables], axis=0).mean())

    assert false("clopper_pearson") > 0.2
    assert false("betting") < 0.05


def test_nothing_warns_without_reason(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf = fit(classifier(checkpoint=tmp_path))
        clf.certify(X_TEST)
        fit(clf).certify(X_TEST)
