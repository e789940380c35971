"""Frozen encoders that the attacker had no hand in, as feature maps."""

from __future__ import annotations

import copy
import hashlib
import io
import math
import os
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import check_integer, parameter_error, shown
from certssb.features._fingerprint import fingerprint, weights
from certssb.features._maps import FeatureMap, Features, mapped

_PROBED = 4
"""Samples that are encoded again, to see that an encoder is what it was."""

_COMPARED = 16
"""Samples that are encoded again before features are taken from a file."""

_WORTH_KEEPING = 64
"""Samples below which features are computed faster than found."""


class Trusted(FeatureMap):
    """A frozen encoder that is trusted: nobody who changed the training data had a hand in it.

    With features from networks that others trained on other data, members learn well from few samples. What such an
    encoder computes from a sample alone does not depend on the rest of the received data, so certificates that count
    samples hold as they do without it. Its name and, for a torch module, a digest of its weights are part of the
    record, and guarantees say that it is trusted. An encoder or transformer that was fitted to the received data, or
    to data that the attacker could reach, must not be trusted, and no trial here can detect that.

    Under a law that measures changes, such as ``Gaussian``, norms are those of the encoded features. They say nothing
    about how far the samples moved, because an encoder may turn an invisible change into a large one. Guarantees say
    so.

    Parameters
    ----------
    encoder : torch.nn.Module, transformer or callable
        A module, which is put into evaluation mode and called without gradients, on the device of its parameters; an
        object with a fitted ``transform``, which gets flat samples; or any callable that takes a batch of samples as
        float32. It returns one row for each sample. A copy is kept, if it can be copied.
    name : str
        What guarantees call it, such as "EfficientNet-Lite0, ImageNet".
    batch_size : int, default=256
        Samples per call.
    cache_dir : str or path, optional
        Directory in which features are kept, by digests of the samples and of the encoder (its name, weights, state
        and Python code), so that they are computed once. What an encoder reads from files, or does in compiled code,
        is not part of its digest: give different encoders different names.

    Raises
    ------
    ParameterError
        If a parameter is invalid. When it is called: if the encoder fails to return one row of finite numbers for
        each sample, or if its answer for a sample differs from an earlier one in memory or in `cache_dir`.

    Examples
    --------
    >>> import numpy as np
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits()
    >>> directions = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
    >>> def project(X):
    ...     return np.tanh(X.reshape(len(X), -1) @ directions)
    >>> encoder = cs.features.Trusted(project, name="random directions")
    >>> encoder(X).shape
    (1797, 32)
    >>> encoder.before_noise()[:93]
    "the encoder 'random directions'. The guarantee trusts 'random directions': it holds provided "
    """

    lipschitz = math.inf

    def __init__(
        self, encoder: Any, name: str, batch_size: int = 256, cache_dir: str | os.PathLike[str] | None = None
    ) -> None:
        if not (callable(encoder) or callable(getattr(encoder, "transform", None))):
            expected = (
                "a module of torch, an object with a fitted transform, or a callable that takes samples"
            )
            raise parameter_error("encoder", expected, shown(encoder))
        if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > 200:
            raise parameter_error("name", "a name of at most 200 printable characters", shown(name))
        self.batch_size = check_integer("batch_size", batch_size, "an integer of at least 1", 1)
        if cache_dir is not None and not isinstance(cache_dir, (str, os.PathLike)):
            raise parameter_error("cache_dir", "None or the path of a directory", shown(cache_dir))
        self.name, self.cache_dir = name, None if cache_dir is None else os.fspath(cache_dir)
        self.encoder = _copied(encoder)
        self.weights = weights(self.encoder)
        # Before it is asked anything: what an encoder counts or logs while it works is not what it is.
        self._fingerprint = "" if self.cache_dir is None else fingerprint(self.encoder)
        self.trusted = (repr(name),)
        self._probe: tuple[Features, Features] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Trusted:
        """A copy that was asked nothing before; the constructor copies the encoder."""
        other = Trusted(self.encoder, self.name, self.batch_size, self.cache_dir)
        if other.weights == self.weights:
            other._fingerprint = self._fingerprint
        return other

    def __repr__(self) -> str:
        return f"Trusted({type(self.encoder).__name__}, name={self.name!r})"

    def describe(self) -> str:
        """The encoder in a few words, for guarantees.

        Returns
        -------
        str
            Its name and a digest of its weights, if it is a module of torch.

        Examples
        --------
        >>> import certssb as cs
        >>> cs.features.Trusted(lambda X: X, name="as they are").describe()
        "the encoder 'as they are'"
        """
        return f"the encoder {self.name!r}" + (f" (weights {self.weights[:16]})" if self.weights else "")

    def __call__(self, X: Features) -> Features:
        return self._features(X, self.batch_size)

    def _one_by_one(self, X: Features) -> Features:
        """In batches of one sample, kept apart from those of other batches."""
        return mapped(self, X, lambda rows: self._features(rows, 1))

    def _features(self, X: Features, batch_size: int) -> Features:
        self._check_unchanged()
        if len(X) == 0:
            raise parameter_error("X", "at least one sample", "none")
        path = (
            None
            if self.cache_dir is None or len(X) < _WORTH_KEEPING
            else self._place(X, alone=batch_size == 1)
        )
        features = None if path is None else self._kept(path, X)
        if features is None:
            features = self._encoded(X, batch_size)
            if path is not None:
                buffer = io.BytesIO()
                np.save(buffer, features, allow_pickle=False)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                _core.write_file(path, buffer.getvalue())
        if self._probe is None:
            chosen = _spread(len(X), _PROBED)
            self._probe = (X[chosen].copy(), features[chosen].copy())
        return features

    def _encoded(self, X: Features, batch_size: int) -> Features:
        parts = [self._batch(X[start : start + batch_size]) for start in range(0, len(X), batch_size)]
        shapes = {part.shape[1:] for part in parts}
        if len(shapes) > 1:
            got = f"{self.name!r}, which returns shapes {sorted(map(str, shapes))} for samples of one shape"
            raise parameter_error("encoder", "one that returns features of one shape", got)
        return np.concatenate(parts)

    def _batch(self, batch: Features) -> Features:
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(self.encoder, torch.nn.Module):
            where = next(iter([*self.encoder.parameters(), *self.encoder.buffers()]), None)
            given = torch.from_numpy(np.array(batch))
            with torch.inference_mode():
                out = self.encoder(given if where is None else given.to(where.device))
        elif callable(getattr(self.encoder, "transform", None)):
            out = self.encoder.transform(batch.reshape(len(batch), -1))
        else:
            out = self.encoder(batch)
        if torch is not None and isinstance(out, torch.Tensor):
            out = out.detach().cpu().float().numpy()
        if hasattr(out, "toarray"):
            out = out.toarray()
        out = np.asarray(out)
        if out.dtype.kind not in "fiub" or out.ndim < 1 or len(out) != len(batch) or out.size == 0:
            got = f"{self.name!r}, which returns shape {out.shape} of type {out.dtype}"
            raise parameter_error(
                "encoder", f"one that returns {len(batch)} rows for {len(batch)} samples", got
            )
        if out.ndim not in (2, 4):
            out = out.reshape(len(out), -1)
        with np.errstate(over="ignore"):
            features = np.ascontiguousarray(out, dtype=np.float32)
        if not np.isfinite(features).all():
            got = f"{self.name!r}, which returns NaN or infinity"
            raise parameter_error("encoder", "one that returns finite numbers", got)
        return features

    def _check_unchanged(self) -> None:
        """Ask for what is known: an encoder that went on learning answers differently."""
        if self._probe is not None:
            samples, known = self._probe
            if not _same(known, self._encoded(samples, self.batch_size)):
                got = f"{self.name!r}, which changed between calls"
                raise parameter_error("encoder", "frozen: the same features for the same sample", got)

    def _place(self, X: Features, *, alone: bool) -> str:
        digest = hashlib.sha256(f"certssb features 2\n{self.name}\n{self._fingerprint}\n{X.shape}\n".encode())
        digest.update(np.ascontiguousarray(X).data)
        if alone:
            digest.update(b"one by one")
        return os.path.join(str(self.cache_dir), f"{digest.hexdigest()}.npy")

    def _kept(self, path: str, X: Features) -> Features | None:
        """Features from a file; some of them are computed again, because a digest does not see all that an encoder is."""
        try:
            kept: npt.NDArray[Any] = np.load(path, allow_pickle=False)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError) as error:
            got = f"'{path}', which cannot be read ({error}). Remove it"
            raise parameter_error("cache_dir", "a directory of features that can be read", got) from error
        chosen = _spread(len(X), _COMPARED)
        fits = kept.dtype == np.float32 and kept.ndim in (2, 4) and len(kept) == len(X)
        if not fits or not _same(np.asarray(kept[chosen]), self._encoded(X[chosen], self.batch_size)):
            got = f"'{path}', which {self.name!r} does not. Remove it, or give another encoder another name"
            raise parameter_error("cache_dir", "features that the encoder gives as well", got)
        return kept


def _copied(encoder: Any) -> Any:
    """The encoder's copy, in evaluation mode; the encoder itself where it cannot be copied."""
    try:
        own = copy.deepcopy(encoder)
    except Exception:  # noqa: BLE001  whatever the encoder's own code raises
        return encoder
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(own, torch.nn.Module):
        own.eval()
    return own


def _spread(n: int, count: int) -> npt.NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, count).astype(np.int64))


def _same(one: Features, other: Features) -> bool:
    """Each row up to the rounding of other batches and other processors, which is relative to the row's own size."""
    if one.shape != other.shape:
        return False
    one, other = one.reshape(len(one), -1), other.reshape(len(other), -1)
    return bool((np.abs(one - other).max(axis=1) <= 1e-3 * np.abs(one).max(axis=1) + 1e-6).all())
