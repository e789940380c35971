"""Trials of the user's estimators before any member is trained: do they learn, alone, from what they are given?

A member must be a function of its own noised set and its own seeds. Where an estimator keeps state cannot be listed (a
shared object of a callable, class attributes, caches), so it is tried on made-up samples: what one says must stay the same,
bit for bit, when another one has been fitted, and when it is fitted again, also beside another one in a second thread.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn import config_context

from certssb.exceptions import ParameterError
from certssb.learners.sklearn import _making
from certssb.learners.sklearn._fitting import Recipe, asked, fitted
from certssb.learners.sklearn._globals import stand, watching_warnings
from certssb.learners.sklearn._making import params_of, refusal
from certssb.learners.sklearn._member import Floats, Member, NoAnswer

__all__ = ["Witness", "tried"]

_FIRST, _SECOND = 2**62 + 1, 2**62 + 2
"""Seeds of the estimators of a trial; no member has them."""

_SMALL = 256
"""Samples of a trial, unless members have fewer or the estimator wants more."""

_ASKED = 32
_SLOW = 0.02
"""Seconds of one fit from which on processes are worth their messages."""
_CROWDED = 1.5
"""Two fits at the same time that take so many times as long as one share the interpreter more than the processors."""

_ALONE = "a classifier whose members do not share state"


@dataclass(frozen=True)
class Made:
    """Made-up samples of the shape and size that members have, their labels, and others to be asked about."""

    X: Floats
    y: npt.NDArray[np.int64]
    asked: Floats

    @property
    def swapped(self) -> npt.NDArray[np.int64]:
        """The labels in reverse order: the rarest class becomes the most frequent one."""
        reverse: npt.NDArray[np.int64] = self.y.max() - self.y
        return reverse

    @classmethod
    def of(cls, shape: tuple[int, ...], n_classes: int, n_samples: int, codes: bool) -> Made:
        """Values in [0, 1), or only 0 and 1, that tell something about the class."""
        rng = np.random.default_rng(0)
        n_there = max(2, min(n_classes, n_samples // 4))
        # One class more often than the others, so that swapped labels are other labels for whoever only counts.
        y = np.minimum(np.arange(n_samples) % (n_there + 1), n_there - 1)[::-1].copy()
        means = rng.random((n_there, *shape), dtype=np.float32)
        X = 0.5 * (rng.random((n_samples, *shape), dtype=np.float32) + means[y])
        query = 0.5 * (rng.random((_ASKED, *shape), dtype=np.float32) + means[np.arange(_ASKED) % n_there])
        if codes:
            X, query = (X > 0.5).astype(np.float32), (query > 0.5).astype(np.float32)
        return cls(X, y.astype(np.int64), query)


class Witness:
    """A member of made-up samples and what it says alone, to be compared with what it says later.

    Parameters
    ----------
    recipe : Recipe
        What makes it.
    made : Made
        Its samples.
    """

    def __init__(self, recipe: Recipe, made: Made) -> None:
        self.recipe = recipe
        self.made = made
        start = time.monotonic()
        self.member, _ = fitted(recipe, _FIRST, _FIRST, made.X.copy(), made.y.copy())
        self.seconds = time.monotonic() - start
        self.answers = self.asked(self.member)

    @property
    def name(self) -> str:
        """The estimator's class."""
        return type(self.member.estimator).__name__

    def asked(self, member: Member) -> Floats:
        """What a member says of the made-up samples."""
        return asked(self.recipe, member, self.made.asked.copy())

    def again(self) -> Floats:
        """What another one says that is made in the same way."""
        return self.asked(fitted(self.recipe, _FIRST, _FIRST, self.made.X.copy(), self.made.y.copy())[0])

    def other(self) -> Floats:
        """What one says whose samples have their labels swapped."""
        made = self.made
        return self.asked(fitted(self.recipe, _SECOND, _SECOND, made.X.copy(), made.swapped)[0])

    def elsewhere(self) -> None:
        """Fit one on other samples."""
        fitted(self.recipe, _SECOND, _SECOND, 1 - self.made.X, self.made.swapped)

    def same(self, a: Floats, b: Floats) -> bool:
        """Whether two answers are the same: bit for bit, up to rounding for estimators with threads of their own."""
        if _has_threads(self.recipe):
            return bool(
                np.allclose(a, b, rtol=1e-4, atol=1e-4) and (a.argmax(axis=1) == b.argmax(axis=1)).all()
            )
        return a.tobytes() == b.tobytes()

    def is_disturbed(self) -> bool:
        """Whether what was done since left traces: in this member, or in how another one becomes."""
        try:
            now, again = self.asked(self.member), self.again()
        except Exception:  # noqa: BLE001 - it did not fail alone: something brought it about
            return True
        return not (self.same(self.answers, now) and self.same(self.answers, again))


def tried(recipe: Recipe, shape: tuple[int, ...], n_samples: int) -> tuple[Witness, bool]:
    """Refuse what cannot be a member; a witness, whose recipe says what was found out, and whether threads crowd."""
    witness = _learns(recipe, shape, n_samples)
    name, before = witness.name, witness.answers
    if not np.isfinite(before).all():
        raise refusal("a classifier whose predict_proba is finite", f"{name}, which returned NaN or infinity")
    _check_shares(witness)
    if not witness.same(before, witness.asked(witness.member)):
        raise refusal("a classifier that answers the same when it is asked again", name)
    _check_learns(witness)
    witness.elsewhere()
    _check_undisturbed(witness)
    crowded = _check_again(witness)
    _check_undisturbed(witness)
    _check_rows(witness)
    if recipe.n_classes > 2:
        witness.recipe = witness.recipe.but(relabelled=_wants_no_gaps(witness.recipe, witness.made))
    return witness, crowded


def _learns(recipe: Recipe, shape: tuple[int, ...], n_samples: int) -> Witness:
    """A witness on made-up samples that the estimator can be fitted on; its recipe knows what that draws from."""
    failures: list[Exception] = []
    for size in sorted({max(min(n_samples, _SMALL), 2), max(n_samples, 2)}):
        for codes in (False, True):
            made = Made.of(shape, recipe.n_classes, size, codes)
            before = stand()
            try:
                with watching_warnings() as copied:
                    witness = Witness(recipe, made)
            except ParameterError:
                raise
            except NoAnswer as error:
                expected = (
                    "a classifier whose answers are classes and probabilities of the labels it was given"
                )
                raise refusal(expected, f"one whose {error}") from error
            except Exception as error:  # noqa: BLE001 - the user's code; the first failure is told
                failures.append(error)
                continue
            drew = stand() != before
            witness.recipe = recipe.but(draws=drew, warns=copied())
            return Witness(witness.recipe, made) if drew else witness
    first = failures[0]
    got = f"one that fails with {type(first).__name__}: {str(first).partition(chr(10))[0][:300]}"
    where = f"{max(min(n_samples, _SMALL), 2)} made-up samples of {recipe.n_classes} classes"
    raise refusal(f"a classifier that learns from {where} and says something of others", got) from first


def _wants_no_gaps(recipe: Recipe, made: Made) -> bool:
    """Whether an estimator that has not seen the first class must be told of the others by numbers from 0."""
    y = np.where(made.y == 0, made.y.max(), made.y)
    y[: len(y) // 2] = np.where(y[: len(y) // 2] == made.y.max(), 1, y[: len(y) // 2])
    if len(np.unique(y)) < 2:
        return False
    # Its answers stay what they are: all classes are there.
    for relabelled in (False, True):
        own = recipe.but(relabelled=relabelled)
        try:
            asked(own, fitted(own, _FIRST, _FIRST, made.X.copy(), y)[0], made.asked.copy())
        except Exception:  # noqa: BLE001, S112 - the user's code; a member that fails says so
            continue
        return relabelled
    return False


def _check_learns(witness: Witness) -> None:
    name = witness.name
    try:
        other = witness.other()
    except Exception as error:
        got = f"{name}, which fails when it is fitted a second time: {type(error).__name__}: {error}"
        raise refusal(_ALONE, got) from error
    if (witness.answers == other).all():
        got = f"{name}, which says the same whatever labels it is fitted on (does its fit keep what an earlier one learned?)"
        raise refusal("a classifier that learns from the samples it is given", got)


def _check_shares(witness: Witness) -> None:
    """Refuse a predict_proba that says no probabilities of ordinary samples."""
    estimator = witness.member.estimator
    if not hasattr(estimator, "predict_proba"):
        return
    with config_context(**witness.recipe.maker.config):
        own = np.asarray(estimator.predict_proba(witness.made.asked.reshape(_ASKED, -1).copy()))
    if (own < 0).any() or (np.abs(own.sum(axis=1) - 1.0) > 1e-3).any():
        got = f"{witness.name}, which returned values that are negative or whose sum is not 1"
        raise refusal("a classifier whose predict_proba returns probabilities", got)


def _check_undisturbed(witness: Witness) -> None:
    if not witness.same(witness.answers, witness.asked(witness.member)):
        got = f"{witness.name}, one of which answered differently after another one was fitted (what does its fit write to?)"
        raise refusal(_ALONE, got)


def _check_again(witness: Witness) -> bool:
    """Refuse what becomes another one when it is fitted again beside others; whether they were in each other's way."""
    answers: list[Floats] = []
    start_together = threading.Barrier(2)

    def again() -> None:
        start_together.wait()
        # What fails here is missing below.
        with contextlib.suppress(Exception):
            answers.append(witness.again())

    def elsewhere() -> None:
        start_together.wait()
        with contextlib.suppress(Exception):
            witness.elsewhere()

    threads = [threading.Thread(target=work) for work in (again, elsewhere)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - start
    if not answers or not witness.same(witness.answers, answers[0]):
        _check_undisturbed(witness)
        got = f"{witness.name}, which came out different when it was fitted again on the same samples with the same seed"
        if not witness.is_disturbed():
            got += ", while another one was fitted in another thread"
        raise refusal(
            _ALONE, f"{got} (state outside of the object, a clock, randomness without a random_state?)"
        )
    # What has to go in turn in threads does not in processes.
    return (
        witness.recipe.draws
        or witness.recipe.warns
        or (witness.seconds > _SLOW and seconds > _CROWDED * witness.seconds)
    )


def _check_rows(witness: Witness) -> None:
    """Refuse classifiers whose answer for a sample depends on what else they are asked about."""
    query = witness.made.asked
    together = witness.answers
    alone = [asked(witness.recipe, witness.member, query[row : row + 1]) for row in (0, len(query) // 2)]
    theirs = [
        (together[[0]], alone[0]),
        (together[[len(query) // 2]], alone[1]),
        (together, asked(witness.recipe, witness.member, query[::-1].copy())[::-1]),
    ]
    if not all(np.allclose(np.exp(a), np.exp(b), rtol=1e-3, atol=1e-4) for a, b in theirs):
        got = f"{witness.name}, whose answers do (statistics of what it is asked about?)"
        raise refusal("a classifier whose answer for a sample does not depend on the others", got)


def _has_threads(recipe: Recipe) -> bool:
    params = params_of(recipe.maker.fresh(_FIRST)) if _making.is_estimator(recipe.maker.model) else {}
    return any(n.rpartition("__")[2] == "n_jobs" and v not in (None, 1) for n, v in params.items())
