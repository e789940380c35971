"""Members as bytes, where the user said in which form: skops, which runs no code, or joblib, which is pickle."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any, Literal

import joblib
import numpy as np

from certssb._checks import one_of, parameter_error
from certssb.exceptions import CheckpointError, ParameterError
from certssb.learners.sklearn._member import Member

__all__ = ["FORMS", "NO_FORM", "Form", "checked", "pack", "trusted", "try_form", "unpack"]

Form = Literal["skops", "joblib"]
FORMS: tuple[Form, ...] = ("skops", "joblib")

NO_FORM = (
    "Members are fitted estimators, which cannot be written to files without pickle or an extra package: pass form='skops' "
    "(needs the package skops; loading runs no code), or form='joblib', which is pickle: whoever can write to the files "
    "can run code where they are read."
)
"""Why nothing is written by default."""


def checked(form: Any) -> Form | None:
    """The form, if it is one and its package is there."""
    if form is None:
        return None
    if form not in FORMS:
        raise parameter_error("form", f"None or {one_of(FORMS)}", repr(form))
    if form == "skops":
        _skops()
    return form  # type: ignore[no-any-return]


def pack(member: Member, form: Form) -> bytes:
    """A member as bytes.

    Raises
    ------
    ParameterError
        If an estimator like this cannot be written in that form.
    """
    estimator, seen, relabelled, n_classes = member.__getstate__()
    content = {"estimator": estimator, "seen": seen, "relabelled": relabelled, "n_classes": n_classes}
    try:
        if form == "skops":
            written: bytes = _skops().dumps(content, compression=zipfile.ZIP_DEFLATED, compresslevel=3)
            return written
        whole = io.BytesIO()
        joblib.dump(content, whole, compress=3)
        return whole.getvalue()
    except Exception as error:
        raise _cannot(form, estimator, error) from error


def trusted(member: Member) -> list[str]:
    """The types of which such a member is made, beside those that skops trusts: no others are built from a file."""
    return list(_skops().get_untrusted_types(data=pack(member, "skops")))


def unpack(content: bytes, form: Form, types: Sequence[str] = ()) -> Member:
    """A member from bytes; with skops, made of `types` and what skops trusts only.

    Raises
    ------
    CheckpointError
        If these are no bytes of a member, or of one that is made of other types.
    """
    try:
        if form == "joblib":
            whole = joblib.load(io.BytesIO(content))
        else:
            skops = _skops()
            others = sorted(set(skops.get_untrusted_types(data=content)) - set(types))
            if others:
                raise CheckpointError(
                    f"A member holds objects of types that members of this model do not have: {', '.join(others[:5])}. None of "
                    "them was built."
                )
            whole = skops.loads(content, trusted=list(types))
        member = Member(
            whole["estimator"], np.asarray(whole["seen"]), bool(whole["relabelled"]), int(whole["n_classes"])
        )
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"A member cannot be read ({type(error).__name__}: {error}).") from error
    _check_seen(member)
    return member


def _cannot(form: Form, estimator: Any, error: Exception) -> ParameterError:
    what = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:300]}"
    got = f"'{form}', which cannot hold this {type(estimator).__name__} ({what})"
    return parameter_error("form", "a form that can hold such members", got)


def try_form(form: Form, member: Member) -> list[str]:
    """Refuse a form that cannot hold such a member, before others are trained; the types of which it is made.

    Raises
    ------
    ParameterError
        If it cannot be written or read again.
    """
    types = trusted(member) if form == "skops" else []
    try:
        unpack(pack(member, form), form, types)
    except CheckpointError as error:
        raise _cannot(form, member.estimator, error) from error
    return types


def _check_seen(member: Member) -> None:
    seen = member.seen
    fine = seen.ndim == 1 and seen.dtype == np.int64 and len(seen) > 0 and (np.diff(seen) > 0).all()
    if not fine or seen[0] < 0 or seen[-1] >= member.n_classes:
        raise CheckpointError("A member cannot be read: its classes are none.")


def _skops() -> Any:
    try:
        from skops import io as skops_io
    except ImportError:
        raise ParameterError(
            "The 'form' parameter must be 'joblib' where the package skops is not installed. Got 'skops' instead: "
            "install it with `pip install certssb[skops]`."
        ) from None
    return skops_io
