"""Noise laws: how each member's training set is drawn from the received one, and what that proves."""

from certssb._core import Discrete, Gaussian, LabelNoise, Law, Plan, Subsample, Uniform

__all__ = ["Discrete", "Gaussian", "LabelNoise", "Law", "Plan", "Subsample", "Uniform"]
