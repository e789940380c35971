"""Answers that are those of one fit, whatever becomes of the estimator meanwhile."""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = ["as_fitted"]

T = TypeVar("T")


def as_fitted(estimator: T) -> T:
    """An estimator with the attributes that this one has now, for one question.

    Between two blocks of samples a generator, another thread or whoever goes through the tables may fit the estimator again.
    Votes, law, feature map and classes of one answer belong to one fit: its attributes are written in one step, and read in one here.
    """
    seen: Any = object.__new__(type(estimator))
    seen.__dict__ = estimator.__dict__.copy()
    answering: T = seen
    return answering
