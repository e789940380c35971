"""No sample decides how another is read: whatever is done to one, the others keep their features, or all are refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import certssb as cs
from certssb.data import as_features
from certssb.exceptions import CertssbError, ParameterError

PIL = pytest.importorskip("PIL.Image")

N = 5


class Items(Dataset[Any]):
    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


def objects(samples: list[Any]) -> Any:
    array = np.empty(len(samples), dtype=object)
    for index, sample in enumerate(samples):
        array[index] = sample
    return array


def from_csv(rows: list[Any]) -> pd.DataFrame:
    """What pandas makes of a file, where one cell can make its column another type."""
    lines = [
        ",".join("" if cell is None else str(cell) for cell in np.ravel(np.array(plain(row), object)))
        for row in rows
    ]
    width = max(line.count(",") for line in lines) + 1
    return pd.read_csv(io.StringIO("\n".join([",".join(f"c{i}" for i in range(width)), *lines])))


ANY: list[Callable[[list[Any]], Any]] = [
    list,
    tuple,
    objects,
    Items,
    lambda samples: DataLoader(Items(samples), shuffle=True),
]
LISTS = ANY[:3]
ROWS: list[Callable[[list[Any]], Any]] = [
    pd.DataFrame,
    from_csv,
    lambda rows: np.array(rows, dtype=object),
    lambda rows: pd.DataFrame(rows).astype(object),
]

Rng = np.random.Generator


def image(rng: Rng) -> Any:
    return rng.integers(0, 256, (6, 5), dtype=np.uint8)


def photo(rng: Rng) -> Any:
    return rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)


KINDS: dict[str, tuple[Callable[[Rng], Any], list[Callable[[list[Any]], Any]]]] = {
    "bytes": (image, ANY),
    "photos": (photo, ANY),
    "floats": (lambda rng: rng.random((6, 5), dtype=np.float32), ANY),
    "integers": (lambda rng: rng.integers(0, 256, (6, 5)), ANY),
    "byte tensors": (lambda rng: torch.from_numpy(image(rng)), ANY),
    "square tensors": (lambda rng: torch.from_numpy(rng.random((3, 3, 3))), ANY),
    "grey pictures": (lambda rng: PIL.fromarray(image(rng)), ANY),
    "photo pictures": (lambda rng: PIL.fromarray(photo(rng)), ANY),
    "black and white pictures": (lambda rng: PIL.fromarray(image(rng)).convert("1"), ANY),
    "palettes": (lambda rng: PIL.fromarray(photo(rng)).convert("P"), ANY),
    "rows": (lambda rng: rng.integers(0, 256, 4).tolist(), ANY + ROWS),
    "rows of floats": (lambda rng: rng.random(4).tolist(), ANY + ROWS),
    "large rows": (lambda rng: rng.integers(2**53, 2**62, 4).tolist(), ANY + ROWS),
    "nested lists": (lambda rng: rng.integers(0, 256, (6, 5)).tolist(), LISTS),
    "lists of bytes": (lambda rng: [list(row) for row in image(rng)], LISTS),
    "lists of arrays": (lambda rng: list(photo(rng)), LISTS),
}  # fmt: skip


def plain(sample: Any) -> Any:
    return sample.tolist() if hasattr(sample, "tolist") else np.asarray(sample).tolist()


def one_entry(value: Any) -> Callable[[Any, Rng], Any]:
    """Put a value into one place of a sample that is made a list of lists."""

    def change(sample: Any, rng: Rng) -> Any:
        values = np.array(plain(sample), dtype=object)
        values[tuple(int(rng.integers(size)) for size in values.shape)] = value
        return values.tolist()

    return change


def to_mode(mode: str) -> Callable[[Any, Rng], Any]:
    def change(sample: Any, rng: Rng) -> Any:
        picture = (
            sample if isinstance(sample, PIL.Image) else PIL.fromarray(np.asarray(sample).astype(np.uint8))
        )
        return picture.convert(mode)

    return change


def cast(dtype: Any) -> Callable[[Any, Rng], Any]:
    return lambda sample, rng: np.asarray(plain(sample)).astype(dtype)


def masked(sample: Any, rng: Rng) -> Any:
    values = np.ma.masked_array(np.asarray(plain(sample), dtype=float))
    values[(0,) * values.ndim] = np.ma.masked
    return values


CHANGES: dict[str, Callable[[Any, Rng], Any] | None] = {
    "other values": None,
    **{f"as {np.dtype(kind).name}": cast(kind) for kind in (bool, np.uint8, np.int8, np.uint16, np.int64, np.uint64, np.float16, np.float32, float, np.longdouble, complex, object)},
    **{f"as {kind}": cast(kind) for kind in (">f8", ">u2", "U", "S", "M8[s]", "m8[s]")},
    **{f"mode {mode}": to_mode(mode) for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "I", "F", "HSV", "YCbCr")},
    **{f"{value!r} inside": one_entry(value) for value in (0, 1, 0.5, True, -1, 2**63, 2**70, 10**400, 1e300, Decimal("0.1"), Decimal("1e400"), Fraction(1, 3), None, float("nan"), float("inf"), pd.NA, pd.NaT, "7", "word", b"7", {}, [1], 1j, np.uint8(3), np.float32(0.25), np.datetime64("2020"), np.timedelta64(3), pd.Timestamp(0))},
    "as a list": lambda sample, rng: plain(sample),
    "as a tensor": lambda sample, rng: torch.tensor(plain(sample)),
    "as a byte tensor": lambda sample, rng: torch.tensor(plain(sample)).to(torch.uint8),
    "as a half tensor": lambda sample, rng: torch.tensor(plain(sample)).to(torch.bfloat16),
    "as an array": lambda sample, rng: np.asarray(sample),
    "as a frame": lambda sample, rng: pd.DataFrame(np.atleast_2d(np.asarray(plain(sample)).reshape(len(plain(sample)), -1))),
    "masked": masked,
    "flattened": lambda sample, rng: np.ravel(np.asarray(plain(sample))),
    "turned": lambda sample, rng: np.asarray(sample).T,
    "with a channel": lambda sample, rng: np.asarray(sample)[..., None],
    "shorter": lambda sample, rng: plain(sample)[:-1],
    "all white": lambda sample, rng: np.full_like(np.asarray(sample), 255),
    "a word": lambda sample, rng: "sample.png",
    "nothing": lambda sample, rng: None,
    "no samples": lambda sample, rng: [],
    "a dictionary": lambda sample, rng: {"image": sample},
    "a generator": lambda sample, rng: (row for row in plain(sample)),
    "sparse": lambda sample, rng: torch.tensor(plain(sample)).to_sparse(),
}  # fmt: skip


def read(X: Any) -> Any:
    """Features, or None if they are refused by name."""
    try:
        return as_features(X)
    except (CertssbError, TypeError) as error:
        assert "'X'" in str(error), error
        return None


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_one_sample_leaves_the_others_features_alone(kind: str) -> None:
    make, containers = KINDS[kind]
    rng = np.random.default_rng(0)
    refused = kept = 0
    for wrap in containers:
        for what, change in CHANGES.items():
            samples = [make(rng) for _ in range(N)]
            place = int(rng.integers(N))
            try:
                other = make(rng) if change is None else change(samples[place], rng)
                changed = wrap([*samples[:place], other, *samples[place + 1 :]])
            except (TypeError, ValueError, OverflowError, RuntimeError, Warning):
                continue  # No such change of such a sample, or no such frame.
            if len(changed.dataset if isinstance(changed, DataLoader) else changed) != N:
                continue  # An empty line of a file is no row.
            before, after = read(wrap(samples)), read(changed)
            assert before is not None
            if after is None:
                refused += 1
                continue
            kept += 1
            others = np.arange(N) != place
            assert after.shape == before.shape, what
            assert np.array_equal(after[others], before[others]), (what, wrap)
    assert refused > 50 and kept >= len(containers)


def test_a_sample_alone_is_read_as_among_others() -> None:
    rng = np.random.default_rng(1)
    for make, containers in KINDS.values():
        samples = [make(rng) for _ in range(N)]
        for wrap in containers:
            together = as_features(wrap(samples))
            for index, sample in enumerate(samples):
                assert np.array_equal(as_features(wrap([sample])), together[index : index + 1])


@pytest.mark.parametrize(
    "other, said",
    [
        (lambda x: x.astype(np.float64), "array of float64 at item 3"),
        (lambda x: x.astype(np.uint16), "array of uint16 at item 3"),
        (lambda x: x.astype(bool), "array of bool at item 3"),
        (torch.from_numpy, "tensor of uint8 at item 3"),
        (PIL.fromarray, "picture of mode L at item 3"),
        (lambda x: x.tolist(), None),
    ],
)
@pytest.mark.parametrize("wrap", ANY)
def test_the_sample_of_another_type_is_named(wrap: Any, other: Any, said: str | None) -> None:
    samples = [image(np.random.default_rng(i)) for i in range(N)]
    samples[3] = other(samples[3])
    if said is None:
        # A list of six lists is no item of a data set, which may be a pair.
        said = "numbers at item 3; convert it" if wrap in LISTS else "Item 3 of 'X' cannot be read"
    else:
        said = f"'X'.*one type.*array of uint8 as at item 0. Got {said}; convert it"
    with pytest.raises(ParameterError, match=said):
        as_features(wrap(samples))


def test_one_image_saved_in_another_type_moves_no_certificate(digits: Any) -> None:
    """It divided none of the others by 255, and most certified predictions were other ones."""
    X, y, X_test, _ = digits
    images = [np.round(x[0] * 255).astype(np.uint8) for x in X[:100]]
    law = cs.Gaussian(0.25)
    clf = cs.CertifiedClassifier("linear", law, n_members=8, epochs=4, alpha=0.4, progress=False, seed=0)
    clf.fit(images, y[:100])
    certified = clf.predict(X_test)
    images[7] = images[7].astype(np.float64)
    with pytest.raises(ParameterError, match="array of float64 at item 7"):
        clf.fit(images, y[:100])
    assert np.array_equal(clf.predict(X_test), certified)


MODES = {
    "1": "L", "L": "L", "P": "RGB", "RGB": "RGB", "LA": "RGBA", "PA": "RGBA", "RGBA": "RGBA", "CMYK": "CMYK",
    "YCbCr": "YCbCr", "HSV": "HSV",
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wrap", ANY)
def test_pictures_are_read_by_their_mode(mode: str, wrap: Any) -> None:
    rng = np.random.default_rng(0)
    pictures = [PIL.fromarray(photo(rng)) for _ in range(3)]
    pictures = [p.convert("RGBA").convert("LA") if mode == "LA" else p.convert("P").convert("PA") if mode == "PA" else p.convert(mode) for p in pictures]  # fmt: skip
    expected = np.stack([np.asarray(p.convert(MODES[mode])) for p in pictures])
    expected = expected[:, None] if expected.ndim == 3 else expected.transpose(0, 3, 1, 2)
    features = as_features(wrap(pictures))
    assert np.array_equal(features, expected.astype(np.float32) / np.float32(255))
    assert features.max() <= 1


def test_deep_pictures_are_read_or_refused_by_their_mode() -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (2, 6, 5)).astype(np.uint16)
    features = as_features([PIL.fromarray(v) for v in values])
    assert np.array_equal(features[:, 0], values.astype(np.float32) / np.float32(65535))
    floats = (values / 65535).astype(np.float32)
    assert np.array_equal(as_features([PIL.fromarray(v) for v in floats])[:, 0], floats)
    with pytest.raises(ParameterError, match="modes 1, L, P.*Got mode I instead; convert"):
        as_features([PIL.fromarray(v.astype(np.int32)) for v in values])
    with pytest.raises(ParameterError, match="several samples. Got one picture"):
        as_features(PIL.fromarray(values[0]))


def test_channels_of_narrow_pictures_are_known() -> None:
    narrow = np.random.default_rng(0).integers(0, 256, (2, 1, 9, 3), dtype=np.uint8)
    assert as_features([PIL.fromarray(v) for v in narrow]).shape == (2, 3, 1, 9)


@pytest.mark.parametrize("wrap", [list, Items])
def test_square_tensors_in_a_list_are_read_as_torch_reads_them(wrap: Any) -> None:
    tensors = [torch.rand(3, 3, 3) for _ in range(4)]
    assert np.array_equal(as_features(wrap(tensors)), torch.stack(tensors).numpy())
