"""The user's own module as a member, and a built-in network as a module."""

from __future__ import annotations

from certssb.learners.torch.built_in import BuiltInModule

__all__ = ["BuiltInModule"]
