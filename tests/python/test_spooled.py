"""Data sets that do not fit into memory: one file that is whole or not there, and samples that are those of the data set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import small
from torch.utils.data import DataLoader, Dataset, TensorDataset

import certssb as cs
from certssb.data import as_arrays, read_features, spooled

PHOTOS = np.random.default_rng(0).integers(0, 256, (90, 3, 8, 8), dtype=np.uint8)
LABELS = np.arange(90) % 3


class Items(Dataset[Any]):
    """Items of a list, and how often one was read in this process."""

    def __init__(self, samples: Any = PHOTOS, labels: Any = LABELS) -> None:
        self.samples, self.labels, self.n_read = samples, labels, 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        self.n_read += 1
        return self.samples[index] if self.labels is None else (self.samples[index], self.labels[index])


def read(X: Any, folder: Path) -> tuple[Any, Any]:
    return spooled(X, folder, progress=False)


def test_samples_of_every_kind_are_what_the_data_set_has(tmp_path: Path) -> None:
    floats = PHOTOS.astype(np.float32) / 7
    given = {
        "bytes": Items(),
        "last": Items(PHOTOS.transpose(0, 2, 3, 1)),
        "grey": Items(PHOTOS[:, 0]),
        "table": Items(floats.reshape(90, -1)),
        "halves": Items(floats.astype(np.float16)),
        "tensors": Items(torch.as_tensor(floats)),
        "numbers": Items([[int(value) for value in row] for row in PHOTOS.reshape(90, -1)[:, :9]]),
        "signs": Items(PHOTOS > 100),
        "words": Items(labels=["cat" if i % 2 else "dog" for i in range(90)]),
        "loader": DataLoader(Items(), batch_size=7, shuffle=True, num_workers=2),
        "plain": TensorDataset(torch.as_tensor(PHOTOS), torch.as_tensor(LABELS)),
    }
    for kind, X in given.items():
        samples, labels = read(X, tmp_path / kind)
        expected, said = as_arrays(X)
        assert isinstance(samples, np.memmap) and samples.mode == "r"
        assert np.array_equal(read_features(samples)[0], expected), kind
        assert labels == list(said), kind
    assert spooled(Items(labels=None), tmp_path, progress=False)[1] is None
    kept, _ = read(given["bytes"], tmp_path / "bytes")
    assert kept.dtype == np.uint8 and kept.nbytes == PHOTOS.nbytes


def test_members_are_those_of_the_data_set(tmp_path: Path) -> None:
    law = cs.Subsample(cs.Gaussian(0.5), size=30)
    here = small("linear", law, n_members=12, alpha=0.4).fit(Items())
    X, y = read(Items(), tmp_path)
    there = small("linear", law, n_members=12, alpha=0.4).fit(X, y)
    assert np.array_equal(there.votes(PHOTOS), here.votes(PHOTOS))
    assert there.certify(PHOTOS) == here.certify(PHOTOS)


def test_pictures_of_16_bits_are_on_their_scale(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    values = np.random.default_rng(1).integers(0, 65536, (20, 9, 9), dtype=np.uint16)
    pictures = Items([image.fromarray(picture) for picture in values], LABELS[:20])
    samples, _ = read(pictures, tmp_path)
    assert np.array_equal(read_features(samples)[0], as_arrays(pictures)[0])


def test_a_file_is_found_again_where_it_is_whole_and_of_these_samples(tmp_path: Path) -> None:
    data, told = Items(), list[tuple[int, int]]()

    def read(X: Any, folder: Path) -> tuple[Any, Any]:
        return spooled(X, folder, version="1", progress=False)

    samples, labels = spooled(
        data, tmp_path, version="1", progress=lambda done, total: told.append((done, total))
    )
    assert told[0] == (0, 90) and told[-1] == (90, 90)
    (path,) = tmp_path.iterdir()
    data.n_read = 0
    again, said = read(data, tmp_path)
    assert data.n_read == 16 and np.array_equal(again, samples) and said == labels
    assert np.array_equal(spooled(data, tmp_path, version="2", progress=False)[0], PHOTOS)
    assert data.n_read == 16 + 16 + 90, "another version is read"
    next(other for other in tmp_path.iterdir() if other != path).unlink()
    good = path.read_bytes()
    # What is damaged, wherever, or was written in part, is read from the data set.
    for bad in (good[:-1], good[: len(good) // 2], b"", good[:5000] + bytes([good[5000] ^ 1]) + good[5001:]):
        path.write_bytes(bad)
        data.n_read = 0
        again, said = read(data, tmp_path)
        assert data.n_read == 16 + 90 and np.array_equal(again, PHOTOS) and said == labels
        assert path.read_bytes() == good
    other = PHOTOS.copy()
    other[89, 2, 7, 7] ^= 1
    changed = [
        Items(other),
        Items(labels=(LABELS + 1) % 3),
        Items(PHOTOS[:80]),
        Items(PHOTOS.astype(np.float32)),
    ]
    for number, one in enumerate(changed):
        again, said = read(one, tmp_path)
        assert np.array_equal(again, one.samples) and said == one.labels[: len(one)].tolist()
        assert len(list(tmp_path.iterdir())) == 2 + number
    assert np.array_equal(samples, PHOTOS), "what is mapped stays"


def test_samples_that_changed_are_never_taken_for_those_that_were_handed_in(tmp_path: Path) -> None:
    first, labels = read(Items(), tmp_path)
    (path,) = tmp_path.iterdir()
    inode = path.stat().st_ino
    again = Items()
    assert np.array_equal(read(again, tmp_path)[0], PHOTOS) and again.n_read == 16 + 90
    assert path.stat().st_ino == inode, "what is the same is not written again"
    # None of these numbers is among the 16 that give the file its name.
    for number in (1, 4, 88, 50):
        other, relabelled = PHOTOS.copy(), LABELS.copy()
        other[number, 1, 2, 3] ^= 1
        relabelled[number] = (relabelled[number] + 1) % 3
        for data in (
            Items(other),
            Items(PHOTOS, relabelled),
            DataLoader(Items(other, relabelled), num_workers=2),
        ):
            source: Any = getattr(data, "dataset", data)
            samples, said = read(data, tmp_path)
            assert np.array_equal(samples, source.samples) and said == source.labels.tolist()
    assert len(list(tmp_path.iterdir())) == 1
    assert np.array_equal(first, PHOTOS) and labels == LABELS.tolist(), "what is mapped stays"


@pytest.mark.parametrize("version", [None, "1"])
def test_a_data_set_of_which_another_process_writes_the_like_gets_its_own_samples(
    version: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = PHOTOS.copy()
    other[1] ^= 1  # none of the items under whose digest both are looked for
    replace = os.replace

    def then_another(*names: Any) -> None:
        monkeypatch.undo()
        replace(*names)
        (path,) = tmp_path.glob("*.safetensors")
        path.unlink()
        spooled(Items(other), tmp_path, version=version, progress=False)

    monkeypatch.setattr(os, "replace", then_another)
    samples, labels = spooled(Items(), tmp_path, version=version, progress=False)
    assert np.array_equal(samples, PHOTOS) and labels == LABELS.tolist()
    (path,) = tmp_path.glob("*.safetensors")
    assert samples.filename == path.resolve()
    assert np.array_equal(read(Items(), tmp_path)[0], PHOTOS)


@pytest.mark.parametrize("version", ["", 3, b"1"])
def test_a_version_is_a_string(version: Any, tmp_path: Path) -> None:
    with pytest.raises(cs.ParameterError, match="'version' parameter must be None or a string"):
        spooled(Items(), tmp_path, version=version, progress=False)


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    code = f"""
import os, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_spooled import Items, read
class Killed(Items):
    def __getitem__(self, index):
        if index == 50 and self.n_read > 20:
            os.kill(os.getpid(), 9)
        return super().__getitem__(index)
read(Killed(), {str(tmp_path)!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=1800, check=False)
    assert done.returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.is_dir() and left.name.startswith(".certssb-")
    assert np.array_equal(read(Items(), tmp_path)[0], PHOTOS)
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_items_that_are_not_alike_leave_nothing(tmp_path: Path) -> None:
    wrong: list[Any] = list(PHOTOS)
    wrong[77] = PHOTOS[77][:, :7]
    cases: list[tuple[Any, type[Exception], str]] = [
        (
            Items(wrong),
            cs.ShapeError,
            r"one shape, \(3, 8, 8\).*\(3, 7, 8\) at item 77|\(3, 8, 7\) at item 77",
        ),
        (Items([*PHOTOS[:80], *PHOTOS[80:].astype(np.float32)]), cs.ParameterError, "float32 at item 8[0-9]"),
        (Items(PHOTOS / 7), cs.ParameterError, "single precision holds exactly.*float64 at item 0"),
        (Items(labels=[b"cat"] * 90), cs.ParameterError, "labels that are integers.*bytes at item 0"),
        (Items(np.zeros((9, 5, 3, 3), np.uint8), LABELS), cs.ShapeError, "channels"),
        (Items([], []), cs.ShapeError, "must have samples"),
        (PHOTOS, cs.ParameterError, "a data set or a loader.*a ndarray"),
    ]
    for X, error, words in cases:
        with pytest.raises(error, match=words):
            read(X, tmp_path)
        assert list(tmp_path.iterdir()) == [], words
    with pytest.raises(cs.ParameterError, match="'cache_dir' parameter must be a path"):
        spooled(Items(), 7)  # type: ignore[arg-type]


def test_a_directory_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"no directory")
    with pytest.raises(
        cs.FileError, match=r"file.*\('cache_dir'\) cannot be written: (Not a directory|File exists)"
    ):
        read(Items(), file)
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        with pytest.raises(cs.FileError, match=r"\('cache_dir'\) cannot be written: Permission denied"):
            read(Items(), tmp_path)
        tmp_path.chmod(0o700)


@pytest.mark.skipif(sys.platform != "linux", reason="limits sizes of files")
def test_a_full_disk_is_named_and_nothing_stays(tmp_path: Path) -> None:
    code = f"""
import resource, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_spooled import Items, read
resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, resource.RLIM_INFINITY))
read(Items(), {str(tmp_path)!r})
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=1800, check=False
    )
    assert "FileError" in done.stderr and "('cache_dir') cannot be written: File too large" in done.stderr
    assert str(tmp_path) in done.stderr and list(tmp_path.iterdir()) == []
    assert np.array_equal(read(Items(), tmp_path)[0], PHOTOS)
