"""The tree of exceptions."""

import contextlib
import pickle
import sys
import traceback

import pytest

from certssb import Subsample, exceptions
from certssb.exceptions import CertssbError, LedgerError, TrainingError

EVERY = [kind for name in exceptions.__all__ if not issubclass(kind := getattr(exceptions, name), Warning)]


@pytest.mark.parametrize("kind", EVERY)
def test_every_kind_has_one_root_and_says_when_it_is_raised(kind: type[Exception]) -> None:
    assert issubclass(kind, CertssbError)
    assert "aised" in (kind.__doc__ or "")


def test_wrong_values_are_value_errors_and_the_rest_are_not() -> None:
    values = {kind.__name__ for kind in EVERY if issubclass(kind, ValueError)}
    assert values == {"ParameterError", "ShapeError"}


def test_damaged_and_foreign_ledgers_are_ledger_errors() -> None:
    assert issubclass(exceptions.LedgerCorruptError, LedgerError)
    assert issubclass(exceptions.LedgerVersionError, LedgerError)


def test_a_training_error_names_its_member_also_after_pickling() -> None:
    error = pickle.loads(pickle.dumps(TrainingError("the loss is not finite", member=3)))
    assert (error.member, str(error)) == (3, "the loss is not finite")
    assert TrainingError("no model").member is None


def test_a_file_error_is_the_systems_with_its_number_also_after_pickling() -> None:
    error = pickle.loads(pickle.dumps(exceptions.FileError("'x' cannot be read: no.", code=5)))
    assert (error.errno, str(error), isinstance(error, OSError)) == (5, "'x' cannot be read: no.", True)
    assert issubclass(exceptions.MissingFileError, FileNotFoundError)


def test_ctrl_c_passes_those_who_catch_ordinary_errors() -> None:
    ordinary = [kind for kind in EVERY if issubclass(kind, Exception)]
    assert set(EVERY) - set(ordinary) == {CertssbError, exceptions.CancelledError}
    assert issubclass(exceptions.CancelledError, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt), contextlib.suppress(Exception):
        raise exceptions.CancelledError("stopped")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="errors have notes from Python 3.11 on")
def test_an_error_says_once_which_parameter_it_is() -> None:
    with pytest.raises(exceptions.ParameterError) as caught:
        Subsample(20)  # type: ignore[arg-type]
    (shown,) = traceback.format_exception_only(caught.value)
    assert shown.endswith("such as Gaussian(0.5), or None. Got 20 instead.\n")
    caught.value.add_note("of somebody else")
    assert caught.value.__notes__ == ["of somebody else"]
