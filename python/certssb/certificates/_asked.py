"""What a certificate is asked for: its law, its confidence, checked once for all that certifies."""

from __future__ import annotations

from typing import Any, Literal

from certssb import _core
from certssb._checks import check_number, parameter_error
from certssb.certificates._budget import check_count
from certssb.laws import Law, Partition

__all__ = ["BoundName", "ElectionName", "asked_confidence", "asked_law", "check_election", "optional_count"]

BoundName = Literal["auto", "clopper_pearson", "kl", "hoeffding", "betting"]
ElectionName = Literal["plurality", "run-off"]


def asked_confidence(
    alpha: float, bound: str, selection: str, runner_up: str, family_wise: bool, split: int | None
) -> _core.Confidence:
    return _core.Confidence(
        check_number("alpha", alpha, "a float in the range (0, 1)"),
        str(bound),
        str(selection),
        str(runner_up),
        bool(family_wise),
        optional_count("split", split),
    )


def asked_law(law: Any) -> Law:
    if isinstance(law, Law):
        return law
    raise parameter_error("law", "a noise law such as certssb.Gaussian(0.5)", repr(law))


def check_election(election: Any, law: Any) -> None:
    """Refuse an election that a law does not hold; members of noise laws are counted, and bounded."""
    if isinstance(law, Partition):
        if election not in ("plurality", "run-off"):
            raise parameter_error("election", "'plurality' or 'run-off'", repr(election))
    elif election != "plurality":
        raise parameter_error(
            "election", "'plurality'; learners of a Partition alone have others", repr(election)
        )


def optional_count(name: str, value: Any) -> int | None:
    return None if value is None else check_count(name, value)
