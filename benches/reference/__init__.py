"""The literature's way of training an ensemble, in plain PyTorch: what every figure of the benchmark is a ratio to."""

from .loop import NoisyData, accuracy, train_member, train_members
from .models import MODELS, build

__all__ = ["MODELS", "NoisyData", "accuracy", "build", "train_member", "train_members"]
