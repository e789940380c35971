"""Files under attack: links in the way, pipes, devices, bombs, full disks, kills; each a named error, nothing half done."""

import io
import json
import os
import shutil
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Digits

import certssb as cs
from certssb import cli
from certssb.certificates._file import digest as _digest
from certssb.storage import _files

FAST = ["--members", "12", "--epochs", "1", "--subsample", "100", "--sigma", "0.25", "--model", "linear", "--alpha", "0.3",
        "--quiet", "--seed", "0"]  # fmt: skip


def run(*words: Any) -> int:
    return cli.main([str(word) for word in words])


def table(law: cs.Law | None = None) -> cs.CertificateTable:
    levels = (2,) if isinstance(law, cs.Cascade) else ()
    return cs.certify_votes(
        np.ones((*levels, 1000, 2), dtype=int), law or cs.Gaussian(0.5), n_train=100, n_classes=2
    )


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert run("run", *FAST, "--out", folder) == 0
    return folder


@pytest.fixture
def a_run(whole_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_run, tmp_path / "run"))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ledger(folder: Path) -> Path:
    with cs.Ledger(folder / "regions.sqlite") as opened:
        opened.update([0.0, 1.0], prediction=1, radius=0.5)
    return folder / "regions.sqlite"


def test_no_file_is_written_through_a_link(a_run: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    written = [path.name for path in a_run.iterdir()]
    for name in written:
        (a_run / name).unlink()
        for trap in (name, f"{name}.part", f"{name}.tmp", f".{name}"):
            (a_run / trap).symlink_to(precious)
    assert run("run", *FAST, "--out", a_run) == 0
    export = tmp_path / "export.csv"
    export.symlink_to(precious)
    assert run("ledger", "export", ledger(tmp_path), export) == 0
    link = tmp_path / "table.npz"
    link.symlink_to(precious)
    table().save(link)
    assert precious.read_text() == "mine"
    assert not any((a_run / name).is_symlink() for name in written) and not link.is_symlink()


def test_a_link_that_leads_nowhere_is_no_way_to_make_a_file(tmp_path: Path) -> None:
    (tmp_path / "table.npz").symlink_to(tmp_path / "made")
    table().save(tmp_path / "table.npz")
    assert not (tmp_path / "made").exists()


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_all_files_have_the_mode_that_the_user_asks_for(tmp_path: Path, digits: Digits) -> None:
    before = os.umask(0o027)
    try:
        assert run("run", *FAST, "--out", tmp_path / "run", "--checkpoint", tmp_path / "members") == 0
        law = cs.Subsample(size=20)
        clf = cs.CertifiedClassifier("linear", law, n_members=5, epochs=1, alpha=0.9, progress=False)
        clf.fit(*digits[:2]).save(tmp_path / "saved")
        assert run("ledger", "export", ledger(tmp_path), tmp_path / "export.npz") == 0
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and "sqlite" not in path.name]
    assert len(files) > 25
    assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in files} == {oct(0o640)}


def bad_files(folder: Path) -> Iterator[tuple[str, Path]]:
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    with open(folder / "sparse", "wb") as sparse:
        sparse.truncate(1 << 40)
    names = ("pipe", "folder", "sparse")
    yield from ((name, folder / name) for name in names)
    yield "device", Path("/dev/zero")


def put(source: Path, target: Path) -> None:
    target.unlink()
    target.symlink_to(source)


@pytest.mark.skipif(sys.platform != "linux", reason="needs pipes, /dev/zero and sparse files")
def test_what_is_no_regular_file_is_named_within_a_moment(
    a_run: Path, tmp_path: Path, digits: Digits
) -> None:
    clf = cs.CertifiedClassifier(
        "linear", cs.Subsample(size=20), n_members=5, epochs=1, alpha=0.9, progress=False
    )
    clf.fit(*digits[:2]).save(tmp_path / "saved")
    mnist = tmp_path / "mnist"
    mnist.mkdir()
    (tmp_path / "cifar" / "cifar-10-batches-bin").mkdir(parents=True)
    load = cs.CertifiedClassifier.load

    def through(target: Path, call: Callable[[], Any]) -> Callable[[Path], Any]:
        def asked(bad: Path) -> Any:
            keep = target.read_bytes() if target.is_file() else None
            if keep is not None:
                target.unlink()
            target.symlink_to(bad)
            try:
                return call()
            finally:
                target.unlink()
                if keep is not None:
                    target.write_bytes(keep)

        return asked

    readers: dict[str, Callable[[Path], Any]] = {
        "table": cs.CertificateTable.load,
        "facts": through(tmp_path / "saved" / "estimator.json", lambda: load(tmp_path / "saved")),
        "manifest": through(tmp_path / "saved" / "manifest.json", lambda: load(tmp_path / "saved")),
        "member": through(tmp_path / "saved" / "member-000002.safetensors", lambda: load(tmp_path / "saved")),
        "summary": through(a_run / "summary.json", lambda: cs.report.write_report(a_run)),
        "certificates": through(a_run / "certificates-clean.npz", lambda: cs.report.write_report(a_run)),
        "samples": through(a_run / "samples-clean.npz", lambda: cs.report.write_report(a_run)),
        "idx": through(mnist / "train-images-idx3-ubyte", lambda: cs.datasets.load_mnist(mnist)),
        "gzipped idx": through(mnist / "train-images-idx3-ubyte.gz", lambda: cs.datasets.load_mnist(mnist)),
        "spambase": lambda bad: cs.datasets.load_spambase(bad),
        "cifar": through(
            tmp_path / "cifar" / "cifar-10-batches-bin" / "data_batch_1.bin",
            lambda: cs.datasets.load_cifar10(tmp_path / "cifar"),
        ),
        "zip": through(tmp_path / "cifar10-jpeg.zip", lambda: cs.datasets.load_cifar10(tmp_path)),
    }
    bad = dict(bad_files(tmp_path))
    for reader, read in readers.items():
        for name, path in bad.items():
            started = time.monotonic()
            with pytest.raises(cs.CertssbError) as caught:
                read(path)
            assert time.monotonic() - started < 2.0, (reader, name)
            assert "\n" not in str(caught.value), (reader, name)


@pytest.mark.skipif(sys.platform != "linux", reason="needs pipes, /dev/zero and sparse files")
def test_the_command_line_names_them_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, path in bad_files(tmp_path):
        votes = ["certify", path, "--n-train", 9, "--n-classes", 2, "--out", tmp_path / "out.npz"]
        link = tmp_path / f"{name}.npz"
        link.symlink_to(path)
        for words in (votes, ["run", "--dataset", link, *FAST, "--out", tmp_path / "run"]):
            assert run(*words) in (cli.FAILED, cli.REFUSED)
            err = capsys.readouterr().err
            assert err.startswith("certssb: ") and f"'{words[2] if words[0] == 'run' else path}'" in err, err
            assert "cannot be read" in err and err.count("\n") == 1, err


def packed(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def header(shape: str, kind: str = "|u1") -> bytes:
    """An array that says more of itself than is there."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def zipped(parts: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return buffer.getvalue()


ARCHIVES: dict[str, tuple[bytes, str]] = {
    "a bomb": (packed(X=np.zeros(300 << 20, np.uint8)), "unpack to"),
    "ten small bombs": (packed(**{f"x{i}": np.zeros(30 << 20, np.uint8) for i in range(10)}), "unpack to"),
    "10^12 values": (zipped({"X.npy": header("(1000000000000,)")}), "which is not what is there"),
    "10^40 values": (zipped({"X.npy": header(f"({10**20}, {10**20})")}), "which is not what is there"),
    "fewer values": (zipped({"X.npy": header("(2,)") + b"abc"}), "which is not what is there"),
    "values of no size": (zipped({"X.npy": header("(1000000000000,)", "|S0")}), "not a type of plain values"),
    "a negative shape": (zipped({"X.npy": header("(-1, -1)")}), "shape"),
    "a shape of truths": (zipped({"X.npy": header("(True,)") + b"a"}), "shape"),
    "deep brackets": (zipped({"X.npy": header("(" * 4000 + ")" * 4000)}), ""),
    "objects": (zipped({"X.npy": header("(1,)", "|O") + b"x" * 8}), "not a type of plain values"),
    "a part twice": (
        b"".join([zipped({"a.npy": header("(0,)")}).replace(b"b.npy", b"a.npy")]), "",
    ),
    "no array": (zipped({"X.txt": b"hello"}), "no array"),
    "half a character": (zipped({"X.npy": header("(1,)", "<U1") + (0xD800).to_bytes(4, "little")}), "half of a surrogate pair"),
    "no character": (zipped({"X.npy": header("(1,)", "<U1") + (0x110000).to_bytes(4, "little")}), "half of a surrogate pair"),
    "another format": (zipped({"X.npy": b"\x93NUMPY\x09\x00" + b" " * 99}), "format"),
    "too many parts": (zipped({f"{i}.npy": b"" for i in range(5000)}), "too many parts"),
}  # fmt: skip


@pytest.mark.parametrize(("archive", "said"), ARCHIVES.values(), ids=list(ARCHIVES))
def test_archives_are_judged_before_they_are_unpacked(archive: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(archive)
    started = time.process_time()
    with pytest.raises(cs.ParameterError, match=f"--dataset.*mine.npz.*{said}|a .npz with") as caught:
        _arguments(path)
    assert time.process_time() - started < 1.0 and "\n" not in str(caught.value)
    with pytest.raises(cs.ParameterError, match="'path'.*written by CertificateTable.save"):
        cs.CertificateTable.load(path)


def _arguments(path: Path) -> Any:
    arrays = _files.arrays("--dataset", "a .npz file of plain arrays", path)
    raise cs.ParameterError(f"a .npz with {sorted(arrays)}")


def test_data_that_were_packed_as_data_are_unpacked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.random((50, 3)),
        "b": np.asfortranarray(rng.random((4, 5))),
        "c": np.array(["x", "yz"]),
    }
    arrays |= {"d": np.array(3), "e": np.zeros((0, 2)), "f": np.array([1, 2], ">i2"), "g": np.zeros(9 << 20)}
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "a.npz", **arrays)
        found = _files.arrays("--dataset", "", tmp_path / "a.npz")
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)
    np.save(tmp_path / "a.npy", arrays["b"])
    np.testing.assert_array_equal(_files.arrays("votes", "", tmp_path / "a.npy"), arrays["b"])


def test_a_gzip_bomb_is_no_data_set(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(300 << 20)))
    with pytest.raises(cs.ParameterError, match="'root'.*unpack to more than"):
        cs.datasets.load_mnist(tmp_path)


def test_images_are_measured_before_they_are_unpacked(tmp_path: Path) -> None:
    from PIL import Image

    for name in cs.datasets.CIFAR10_CLASSES:
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "train" / name / "0001.png")
    Image.new("1", (9_000, 9_000)).save(tmp_path / "train" / "cat" / "0001.png")
    # The first time some modules are imported.
    for _ in range(2):
        started = time.process_time()
        with pytest.raises(cs.ParameterError, match="cat/0001.png' has 9000 x 9000 pixels, not 32 x 32"):
            cs.datasets.load_cifar10(tmp_path)
    assert time.process_time() - started < 1.0


def parts_of(certs: cs.CertificateTable) -> dict[str, Any]:
    return dict(_files.archive(certs._bytes()))


def edited(record: Any, **change: Any) -> np.ndarray:
    return np.array(json.dumps(json.loads(str(record)) | change))


CASCADE = cs.Cascade([cs.Gaussian(1.0), cs.Gaussian(0.5)])
WRONG: dict[str, Callable[[dict[str, Any]], Any]] = {
    **{f"without {n}": (lambda p, n=n: p.pop(n)) for n in ("record", "prediction", "p_lower", "p_upper", "p_rest")},
    "short": lambda p: p.update(p_lower=p["p_lower"][:1]),
    "a table of a table": lambda p: p.update(p_lower=p["p_lower"][None]),
    "text": lambda p: p.update(p_lower=np.array(["a", "b"])),
    "single precision": lambda p: p.update(p_lower=p["p_lower"].astype(np.float32)),
    "another order of bytes": lambda p: p.update(p_lower=p["p_lower"].astype(">f8")),
    "NaN": lambda p: p.update(p_lower=np.full(2, np.nan)),
    "a probability of 2": lambda p: p.update(p_upper=np.full(2, 2.0)),
    "a class beyond": lambda p: p.update(prediction=np.full(2, 2)),
    "a class below": lambda p: p.update(prediction=np.full(2, -1)),
    "labels of more classes": lambda p: p.update(classes=np.array(["a", "b", "c"])),
    "labels of one class": lambda p: p.update(classes=np.array(["a"])),
    "a square of labels": lambda p: p.update(classes=np.zeros((2, 2))),
    "no record": lambda p: p.update(record=np.array("{}")),
    "a record of another kind": lambda p: p.update(record=np.array([1, 2])),
    "a deep record": lambda p: p.update(record=np.array("[" * 9999)),
    "10^18 classes": lambda p: p.update(record=edited(p["record"], facts={"n_train": 9, "n_features": 4, "n_classes": 10**18})),
    "10^19 samples": lambda p: p.update(record=edited(p["record"], facts={"n_train": 10**19, "n_features": 4, "n_classes": 2})),
    "no samples": lambda p: p.update(record=edited(p["record"], facts={"n_train": 0, "n_features": 4, "n_classes": 2})),
    "10^400 samples": lambda p: p.update(record=np.array(str(p["record"]).replace('"n_train":100', f'"n_train":{10**400}'))),
    "an alpha of 5": lambda p: p.update(record=np.array(str(p["record"]).replace('"alpha":0.001', '"alpha":5'))),
    "another law": lambda p: p.update(record=edited(p["record"], law={"law": "gaussian", "sigma": -1.0})),
    "a law in itself": lambda p: p.update(record=edited(
        p["record"], law={"law": "subsample", "size": 3, "inner": {"law": "subsample", "size": 2, "inner": None}})),
    "noise that keeps seven times": lambda p: p.update(record=edited(
        p["record"], law={"law": "discrete", "keep": 7.0, "alphabet": 2, "labels": True, "test_input": False})),
    "a cascade without levels": lambda p: p.update(record=edited(p["record"], law=json.loads(CASCADE.to_json()))),
    "magnitudes": lambda p: p.update(sigmas=np.ones(2)),
    "levels of nothing": lambda p: p.update(level=np.zeros(2, int)),
    "an outcome": lambda p: p.update(outcome=np.array(["kept", "kept"])),
}  # fmt: skip


@pytest.mark.parametrize("change", WRONG.values(), ids=list(WRONG))
@pytest.mark.parametrize("law", [None, CASCADE], ids=["gaussian", "cascade"])
def test_tables_with_the_right_digest_and_wrong_parts_are_named(
    change: Callable[[dict[str, Any]], Any], law: cs.Law | None, tmp_path: Path
) -> None:
    parts = parts_of(table(law))
    parts.pop("digest")
    before = _digest(parts)
    change(parts)
    if law is not None and _digest(parts) == before:
        pytest.skip("the cascade's own law")
    (tmp_path / "table.npz").write_bytes(_files.npz({"digest": np.array(_digest(parts)), **parts}))
    try:
        loaded = cs.CertificateTable.load(tmp_path / "table.npz")
    except cs.ParameterError as error:
        assert "'path' parameter must be a file" in str(error) and "\n" not in str(error)
    else:
        # What is accepted can be used.
        loaded.to_frame(), loaded.guarantee, loaded.trigger_norm(1), repr(loaded)


def test_a_run_is_of_one_piece(a_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert run("run", *FAST, "--out", other, "--sigma", "0.5") == 0
    for name in ("certificates-clean.npz", "samples-clean.npz", "summary.json"):
        mixed = Path(shutil.copytree(a_run, tmp_path / name))
        shutil.copy(other / name, mixed)
        if content(mixed) == content(a_run):
            continue
        with pytest.raises(
            cs.ParameterError, match="'folder'.*files of one run.*which its summary.json does not mention"
        ):
            cs.report.write_report(mixed)


SUMMARIES = {
    "deep": b"[" * 100_000,
    "10^400": b'{"seconds": 1' + b"0" * 400 + b"}",
    "half a character": rb'{"law": "\ud800"}',
    "NaN": b'{"budget": NaN}',
}


@pytest.mark.parametrize("text", SUMMARIES.values(), ids=list(SUMMARIES))
def test_a_summary_of_a_stranger_is_one_sentence(text: bytes, a_run: Path) -> None:
    (a_run / "summary.json").write_bytes(text)
    with pytest.raises(cs.ParameterError, match="'folder'.*undamaged summary.json"):
        cs.report.write_report(a_run)


def test_large_images_are_kept_as_small_ones(tmp_path: Path) -> None:
    from certssb.report._samples import load_samples, save_samples

    rng = np.random.default_rng(0)
    for height, width in ((700, 1300), (1, 3000), (8, 8)):
        X = rng.random((2, 3, height, width), dtype=np.float32)
        save_samples(tmp_path / "samples.npz", table(), X, [0, 1])
        images = load_samples(tmp_path / "samples.npz", 2).images
        assert images is not None and max(images.shape[2:]) <= 256
        np.testing.assert_allclose(images.mean(), X.mean(), atol=0.02)


def test_what_the_system_refuses_is_our_error_with_the_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    for call, path in (
        (lambda p: table().save(p), tmp_path / "none" / "table.npz"),
        (lambda p: table().save(p), tmp_path),
        (lambda p: table().save(p), tmp_path / "file" / "table.npz"),
        (cs.CertificateTable.load, tmp_path / "none.npz"),
    ):
        with pytest.raises(cs.FileError, match=f"'{path}' cannot be") as caught:
            call(path)
        assert isinstance(caught.value, OSError) and caught.value.errno is not None
    assert run("run", *FAST, "--out", tmp_path / "file") in (cli.FAILED, cli.REFUSED)
    assert f"'{tmp_path / 'file'}'" in capsys.readouterr().err
    assert run("ledger", "export", ledger(tmp_path), tmp_path / "none" / "a.csv") in (cli.FAILED, cli.REFUSED)
    assert str(tmp_path / "none" / "a.csv") in capsys.readouterr().err


FULL = """
import os, resource, shutil, subprocess, sys
from pathlib import Path
import certssb as cs
from certssb import cli
import test_files as t
limit, what, disk, source = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4]
X, y = cs.datasets.load_digits(classes=(0, 1))
def clf(**settings):
    law = cs.Subsample(cs.Gaussian(.5), size=20)
    return cs.CertifiedClassifier("linear", law, n_members=5, alpha=.9, seed=0, progress=False, **({"epochs": 1} | settings))
fitted = clf().fit(X, y)
if not limit:
    # Seen by this process alone, and gone with it.
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)], capture_output=True).returncode:
        sys.exit(7)
shutil.copytree(source, disk / "run")
clf(epochs=2).fit(X, y).save(disk / "save")
before = t.content(disk)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
else:
    with open(disk / "filler", "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            pass
folder = disk / what
try:
    if what == "checkpoint":
        clf(checkpoint=folder).fit(X, y)
    elif what == "save":
        fitted.save(folder, overwrite=True)
    elif what == "table.npz":
        t.table().save(folder)
    elif cli.main(["run", *t.FAST, "--out", str(folder)]) in (cli.FAILED, cli.REFUSED):
        raise cs.CertssbError(f"{folder}: as printed")
    sys.exit(8)
except cs.CertssbError as error:
    assert str(folder) in str(error), error
    print(error, file=sys.stderr)
after = {name: content for name, content in t.content(disk).items() if name != "filler"}
if what == "checkpoint":
    # Goes on where it stopped.
    (disk / "filler").unlink(missing_ok=True)
    assert all(name.startswith("checkpoint") for name in after.keys() - before.keys())
    if not limit:
        assert clf(checkpoint=folder).fit(X, y).n_members_ == 5
    before |= {name: content for name, content in after.items() if name not in before}
assert after == before, sorted(set(after) ^ set(before))
assert not [path for path in disk.rglob("*") if path.name.startswith(".certssb")], "a draft was left"
cs.CertifiedClassifier.load(disk / "save")
cs.report.render(cs.report.Run.read(disk / "run"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs limits of Linux, and its file systems in memory")
@pytest.mark.parametrize("limit", [0, 500], ids=["a full disk", "a limit for files"])
@pytest.mark.parametrize("what", ["checkpoint", "save", "table.npz", "run"])
def test_no_room_is_one_sentence_and_leaves_what_was_there(
    what: str, limit: int, whole_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    alone = ["unshare", "--mount", "--propagation", "private"] if limit == 0 else []
    if alone and not shutil.which("unshare"):
        pytest.skip("needs the program unshare")
    command = [*alone, sys.executable, "-c", FULL, str(limit), what, str(tmp_path / "disk"), str(whole_run)]
    ran = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    if limit == 0 and (ran.returncode == 7 or "unshare failed" in ran.stderr):
        pytest.skip("needs the right to mount a tmpfs")
    assert ran.returncode == 0, ran.stderr
    assert ("too large" if limit else "No space left") in ran.stderr and "Traceback" not in ran.stderr, (
        ran.stderr
    )


HOLDER = """
import fcntl, sys, time
held = open(sys.argv[1], "w")
fcntl.flock(held, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def test_drafts_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path: Path, digits: Digits) -> None:
    stale = tmp_path / f".certssb-{'0' * 32}.draft"
    stale.write_text("half a table")
    table().save(tmp_path / "table.npz")
    assert not stale.exists()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(stale)], stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        table().save(tmp_path / "table.npz")
        assert stale.exists()
    finally:
        holder.kill()
        holder.communicate()
    law = cs.Subsample(size=20)
    clf = cs.CertifiedClassifier(
        "linear", law, n_members=5, epochs=1, alpha=0.9, progress=False, checkpoint=tmp_path / "members"
    )
    clf.fit(*digits[:2])
    drafts = [folder / stale.name for folder in (tmp_path, tmp_path / "members")]
    drafts[1].write_text("half a member")
    clf.fit(*digits[:2])
    table().save(tmp_path / "table.npz")
    assert not any(draft.exists() for draft in drafts)


INHERITED = """
import os, sys
from pathlib import Path
from certssb import _core

folder = Path(sys.argv[1])
draft = _core.DraftFolder(folder / "ensemble")
Path(draft.path, "member").write_text("whole")
child = os.fork()
if child == 0:
    draft.discard()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
draft.take_place()
assert (folder / "ensemble" / "member").read_text() == "whole"
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks of Linux")
def test_a_forked_child_removes_no_draft_of_its_parents(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", INHERITED, str(tmp_path)], check=True)
