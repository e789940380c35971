"""How samples were read, and whether test samples are on the scale of the training samples."""

from __future__ import annotations

from dataclasses import dataclass, field

from certssb._checks import parameter_error

__all__ = ["Reading"]


@dataclass(frozen=True)
class Reading:
    """The form in which samples came, and what became of them.

    Attributes
    ----------
    kind : str
        "array of uint8", "tensor of float32", "picture of mode RGB", "numbers" (Python's, or a frame's).
    divisor : int
        By what values were divided: 255, 65535 or 1.
    unit : bool
        Whether the features of at least half of the samples lie within [-1, 2], as those of images in [0, 1] do.
    images : bool
        Whether samples are images; tables are never scaled.
    lost : float
        How far, in L2, most samples were moved when they were rounded to single precision.

    Examples
    --------
    >>> import numpy as np
    >>> from certssb.data import read_features
    >>> photos = np.full((5, 28, 28), 200, dtype=np.uint8)
    >>> read_features(photos)[1]
    Reading(kind='array of uint8', divisor=255, unit=True, images=True)
    """

    kind: str
    divisor: int
    unit: bool
    images: bool
    lost: float = field(default=0.0, repr=False, compare=False)

    def check(self, test: Reading, name: str = "X") -> None:
        """Refuse test images that differ from the training images in both type and scale.

        Bytes are divided by 255 and floats are taken as they are: floats up to 255 beside bytes in training would be
        read as pixels 255 times as bright, and certified all the same.

        Parameters
        ----------
        test : Reading
            Of the test samples; this one is of the training samples.
        name : str, default="X"
            What to call the test samples in messages.

        Raises
        ------
        ParameterError
            If one side lies in [0, 1] and the other far outside, and their types differ.

        Examples
        --------
        >>> import numpy as np
        >>> from certssb.data import read_features
        >>> photos = np.full((5, 28, 28), 200, dtype=np.uint8)
        >>> trained, asked = read_features(photos)[1], read_features(photos / 255.0)[1]
        >>> trained.check(asked)
        >>> trained.check(read_features(photos * 1.0)[1])
        Traceback (most recent call last):
        certssb.exceptions.ParameterError: The 'X' parameter must be images on the scale of the training images...
        """
        if not (self.images and test.images) or self.unit == test.unit or self.type == test.type:
            return
        raise parameter_error(
            name,
            f"images on the scale of the training images ({self._words()})",
            f"images that are read otherwise ({test._words()}); pass both as bytes, or both as floats in [0, 1],",
        )

    @property
    def type(self) -> str:
        """The type of the values alone; a tensor and an array of floats have the same."""
        return self.kind.rpartition(" of ")[2]

    def _words(self) -> str:
        done = "taken as they came" if self.divisor == 1 else f"divided by {self.divisor}"
        span = "most within [-1, 2]" if self.unit else "most beyond [-1, 2]"
        return f"{self.kind}, {done}, {span}"
