"""Data sets and loaders: read once, in order, whatever is around them."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits, small
from torch.utils import data
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

import certssb as cs
from certssb.data import as_arrays, as_features


class Pairs(Dataset[Any]):
    """Items from two lists, and the numbers of those that were read."""

    def __init__(self, samples: Any, labels: Any) -> None:
        self.samples, self.labels, self.read = samples, labels, list[int]()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        self.read.append(index)
        return self.samples[index], self.labels[index]


class Duck:
    """No subclass of anything."""

    def __init__(self, samples: Any, labels: Any) -> None:
        self.samples, self.labels = samples, labels

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return (
            {"image": self.samples[index]}
            if self.labels is None
            else (self.samples[index], self.labels[index])
        )


class Moody(Pairs):
    """Another item each time."""

    def __getitem__(self, index: int) -> Any:
        image, label = super().__getitem__(index)
        return image + torch.rand(1), label


def test_every_kind_of_data_set_gives_the_same_members(digits: Digits) -> None:
    X, y, X_test, y_test = digits
    X, y = X[:80], y[:80]
    image, label = torch.as_tensor(X), torch.as_tensor(y)
    reference = small(epochs=1).fit(X, y)
    given: list[Any] = [
        TensorDataset(image, label),
        Pairs(image, y),
        Pairs(X, list(y)),
        Pairs(list(image), label),
        Subset(TensorDataset(torch.cat([image, image]), torch.cat([label, label])), range(80)),
        data.ConcatDataset([TensorDataset(image[:30], label[:30]), TensorDataset(image[30:], label[30:])]),
        Duck(image, y),
        DataLoader(Pairs(image, y), batch_size=7, shuffle=True, drop_last=True, num_workers=2),
        DataLoader(TensorDataset(image, label), batch_size=None),
    ]
    for dataset in given:
        clf = small(epochs=1).fit(dataset)
        assert np.array_equal(clf.votes(X_test), reference.votes(X_test)), type(dataset)
    test = TensorDataset(torch.as_tensor(X_test), torch.as_tensor(y_test))
    for asked in (test, DataLoader(test, batch_size=16), TensorDataset(torch.as_tensor(X_test))):
        assert np.array_equal(reference.predict(asked), reference.predict(X_test))
        assert np.array_equal(reference.certify(asked).prediction, reference.certify(X_test).prediction)
    assert reference.score(test) == reference.score(X_test, y_test)
    # Labels beside the items.
    assert np.array_equal(small(epochs=1).fit(TensorDataset(image), y).votes(X_test), reference.votes(X_test))


def test_items_are_read_once_in_order_and_a_random_transform_is_drawn_once(digits: Digits) -> None:
    images, labels = torch.as_tensor(digits[0][:60]), digits[1][:60]
    dataset = Moody(images, labels)
    loader = DataLoader(dataset, batch_size=16, shuffle=True)
    small(n_members=8, alpha=0.3).fit(loader)
    assert dataset.read == list(range(60))


def test_photos_arrays_and_labels_of_every_kind() -> None:
    image = pytest.importorskip("PIL.Image")
    photos = np.random.default_rng(0).integers(0, 256, (6, 9, 8, 3), dtype=np.uint8)
    expected = photos.transpose(0, 3, 1, 2).astype(np.float32) / 255
    names = ["cat", "dog"] * 3
    for samples in ([image.fromarray(photo) for photo in photos], photos, torch.as_tensor(expected)):
        X, y = as_arrays(Pairs(samples, names))
        assert np.array_equal(X, expected) and X.dtype == np.float32 and list(y) == names
    grey = [image.fromarray(photo[..., 0]) for photo in photos]
    assert np.array_equal(as_features(Pairs(grey, names))[:, 0], photos[..., 0].astype(np.float32) / 255)
    table = as_features(Pairs([[1, 2.5], [3, 4]], [1, 2]))
    assert table.tolist() == [[1.0, 2.5], [3.0, 4.0]]
    clf = small("mlp", n_members=8, alpha=0.3).fit(Pairs(torch.as_tensor(expected).flatten(1), [1, 2] * 3))
    assert clf.classes_.tolist() == [1, 2]


class BreaksAt17(Pairs):
    def __getitem__(self, index: int) -> Any:
        if index == 17:
            raise KeyError("img_0017.png")
        return super().__getitem__(index)


class Endless(data.IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([])


class NoLength(Dataset[Any]):
    def __getitem__(self, index: int) -> Any:
        return torch.zeros(2), 0


IMAGES, LABELS = torch.zeros(20, 1, 4, 4), [0, 1] * 10
PAIRS = Pairs(IMAGES, LABELS)
REFUSED: list[tuple[str, Any, Any, type[Exception], str]] = [
    ("raises", BreaksAt17(IMAGES, LABELS), None, cs.ParameterError, "Item 17 of 'X' cannot be read: KeyError: 'img_0017.png'"),
    ("empty set", Pairs([], []), None, cs.ShapeError, "Found Pairs with 0 sample"),
    ("empty loader", DataLoader(Pairs([], [])), None, cs.ShapeError, "Found DataLoader with 0 sample"),
    ("empty tensors", TensorDataset(torch.zeros(0, 2), torch.zeros(0)), None, cs.ShapeError, "with 0 sample"),
    ("iterable", Endless(), None, cs.ParameterError, "the iterable Endless"),
    ("iterable loader", DataLoader(Endless()), None, cs.ParameterError, "the iterable Endless"),
    ("no length", NoLength(), None, cs.ParameterError, "a data set with a length. Got NoLength"),
    ("no labels", TensorDataset(IMAGES), None, cs.ParameterError, "items (sample, label), or y given beside it"),
    ("labels twice", PAIRS, LABELS, cs.ParameterError, "'y' parameter must be left out"),
    ("three parts", [*zip(IMAGES, LABELS, LABELS, strict=True)], None, cs.ParameterError, "Item 0 of 'X' cannot be read: TypeError: an item must be a sample or (sample, label), not 3 values"),
    ("a dictionary", Duck(IMAGES, None), None, cs.ParameterError, "not dict"),
    ("shapes", Pairs([torch.zeros(1, 4, 4)] * 3 + [torch.zeros(1, 5, 4)], LABELS), None, cs.ShapeError, "(1, 5, 4) at item 3"),
    ("types", Pairs([torch.zeros(1, 4, 4)] * 3 + [torch.zeros(1, 4, 4).byte()], LABELS), None, cs.ParameterError, "uint8 at item 3"),
    ("no sample", Pairs(["a.png", "b.png"], [0, 1]), None, cs.ParameterError, "Item 0 of 'X' cannot be read: TypeError: a sample must be"),
    ("NaN", Pairs([*IMAGES[:4], torch.full((1, 4, 4), torch.nan)], LABELS), None, cs.ParameterError, "NaN at index (4, 0, 0, 0)"),
    ("some items", DataLoader(PAIRS, sampler=data.SubsetRandomSampler([1, 2])), None, cs.ParameterError, "one that samples by SubsetRandomSampler"),
    ("drawn again", DataLoader(PAIRS, sampler=data.RandomSampler(PAIRS, replacement=True)), None, cs.ParameterError, "one that samples by RandomSampler"),
    ("collate", DataLoader(PAIRS, collate_fn=lambda batch: batch), None, cs.ParameterError, "without a collate_fn of its own"),
    ("one sample", TensorDataset(IMAGES[:1], torch.zeros(1)), None, cs.ParameterError, "labels of at least two classes"),
]  # fmt: skip


@pytest.mark.parametrize("what, X, y, error, message", REFUSED, ids=[case[0] for case in REFUSED])
def test_what_cannot_be_read_is_refused_by_name(
    digits: Digits, what: str, X: Any, y: Any, error: type[Exception], message: str
) -> None:
    if what == "three parts":
        X = Duck(X, None)
        X.__class__ = type("Triples", (Duck,), {"__getitem__": lambda self, index: self.samples[index]})
    clf = small().fit(digits[0], digits[1])
    before = clf.votes(digits[2])
    with pytest.raises(error, match=re.escape(message)) as caught:
        clf.fit(X, y)
    if what == "raises":
        assert isinstance(caught.value.__cause__, KeyError)
    # What was trained before is still there.
    assert np.array_equal(clf.votes(digits[2]), before)


def test_a_test_set_that_cannot_be_read_names_the_item(
    ensemble: cs.CertifiedClassifier, digits: Digits
) -> None:
    with pytest.raises(cs.ParameterError, match="Item 17 of 'X' cannot be read"):
        ensemble.predict(BreaksAt17(torch.as_tensor(digits[2]), digits[3]))


def test_bytes_and_floats_of_the_same_images_meet(ensemble: cs.CertifiedClassifier, digits: Digits) -> None:
    """Pixels as bytes are scaled to [0, 1], as training pixels were; channels-last arrays are transposed."""
    bytes_ = np.round(digits[2] * 255).astype(np.uint8)
    floats = bytes_.astype(np.float32) / 255
    assert np.array_equal(ensemble.votes(bytes_), ensemble.votes(floats))
    last = torch.as_tensor(bytes_).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(ensemble.votes(last), ensemble.votes(floats))
    assert np.array_equal(ensemble.votes(floats[:1])[:, 0], ensemble.votes(floats)[:, 0])


def test_torchvisions_data_sets_with_and_without_a_transform() -> None:
    torchvision = pytest.importorskip("torchvision")
    options: dict[str, Any] = {"size": 30, "image_size": (3, 9, 8), "num_classes": 2}
    pictures = torchvision.datasets.FakeData(**options)
    tensors = torchvision.datasets.FakeData(**options, transform=torchvision.transforms.ToTensor())
    (X, y), (X_plain, y_plain) = as_arrays(tensors), as_arrays(pictures)
    assert X.shape == (30, 3, 9, 8) and np.array_equal(X, X_plain) and list(y) == list(y_plain)
    clf = small("linear", n_members=8, alpha=0.3).fit(DataLoader(tensors, batch_size=8, shuffle=True))
    assert np.array_equal(clf.votes(pictures), clf.votes(X))
