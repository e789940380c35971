"""Backdoor triggers, and poisoning a training set with them.

A trigger is a small fixed change of an image. It is called on images and returns changed copies;
its input is never written to. Its size is its L2 norm over all changed pixels and channels, in
the units of the features (images in [0, 1]), which is the size that certificates refer to.

The positions and scales of the one-pixel, four-pixel and blending triggers are those of RAB
(Weber et al., S&P 2023) and Cert-SSBD (Qiao et al., 2025).
"""

from __future__ import annotations

from certssb.attacks.poison import poison, trigger_norms
from certssb.attacks.triggers import Blend, FourPixel, OnePixel, Patch, Trigger

__all__ = ["Blend", "FourPixel", "OnePixel", "Patch", "Trigger", "poison", "trigger_norms"]
