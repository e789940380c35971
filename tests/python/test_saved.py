"""Saved ensembles under attack: changed facts, foreign members, other records, what lies in the way."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import certssb as cs
from certssb.storage import _seal

X, y = cs.datasets.load_digits(classes=(0, 1))
X_TRAIN, Y_TRAIN, X_TEST = X[:60], np.array(["no", "yes"])[y[:60]], X[60:80]
Edit = Callable[[dict[str, Any]], Any]


def classifier(**settings: Any) -> cs.CertifiedClassifier:
    law = settings.pop("law", cs.Subsample(cs.Gaussian(0.25), size=20))
    settings = {"n_members": 6, "epochs": 1, "learning_rate": 0.1, "alpha": 0.3, "seed": 3} | settings
    return cs.CertifiedClassifier("linear", law, progress=False, **settings).fit(X_TRAIN, Y_TRAIN)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[cs.CertifiedClassifier, Path, str]:
    clf, folder = classifier(), tmp_path_factory.mktemp("saved") / "ensemble"
    return clf, folder, clf.save(folder)


@pytest.fixture
def saved(original: tuple[cs.CertifiedClassifier, Path, str], tmp_path: Path) -> Path:
    return Path(shutil.copytree(original[1], tmp_path / "ensemble"))


def edit(folder: Path, change: Edit, reseal: bool = False) -> None:
    """Change what the file says; with its fingerprint made anew, as somebody does who knows how."""
    path = folder / "estimator.json"
    facts = json.loads(path.read_text())
    change(facts)
    if reseal:
        facts.pop("fingerprint", None)
        facts["fingerprint"] = _seal._fingerprint(facts)
    path.write_text(json.dumps(facts))


def refused(folder: Path, said: str, **settings: Any) -> None:
    with pytest.raises(cs.CheckpointError, match=said) as caught:
        cs.CertifiedClassifier.load(folder, **settings)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def put(name: str, value: Any) -> Edit:
    return lambda facts: facts.__setitem__(name, value)


def put_class(name: str, value: Any) -> Edit:
    return lambda facts: facts["classes"].__setitem__(name, value)


SCHEMA: dict[str, tuple[Edit, str]] = {
    "a number as text": (put("n_members", "6"), """'n_members' must be an integer of at least 1, not "6"."""),
    "no members": (put("n_members", 0), "'n_members' must be"),
    "a truth for a number": (put("n_members", True), "'n_members' must be.*not true"),
    "a fraction": (put("n_members", 6.0), "'n_members' must be.*not 6.0"),
    "10^18 members": (put("n_members", 10**18), "'n_members' must be"),
    "alpha 5": (put("alpha", 5), r"'alpha' must be a number in the range \(0, 1\), not 5"),
    "alpha 0": (put("alpha", 0), "'alpha' must be"),
    "alpha as text": (put("alpha", "0.3"), "'alpha' must be"),
    "grown as a number": (put("grown", 1), "'grown' must be true or false, not 1"),
    "one class": (put("classes", {"type": "<U3", "values": ["no"]}), "'classes' must be 2 to 65535 labels"),
    "no classes": (put("classes", None), "'classes' must be labels with their type, not null"),
    "a class twice": (put_class("values", ["no", "no"]), "'classes' must be different labels, ascending"),
    "classes permuted": (put_class("values", ["yes", "no"]), "'classes' must be different labels, ascending"),
    "a class too long": (put_class("values", ["no", "perhaps"]), "'classes' must be labels of type '<U3'"),
    "a class of another type": (put_class("values", ["no", 3]), "'classes' must be labels of type '<U3'"),
    "a class of 10^9 letters": (put_class("type", "<U999999999"), "'classes' must have a type of labels"),
    "a class of 99999 letters each": (
        lambda facts: facts.__setitem__("classes", {"type": "<U99999", "values": [f"{i:05}" for i in range(9999)]}),
        "'classes' must be labels of type '<U99999'",
    ),
    "a type that runs code": (put_class("type", "O8,(2,)"), "'classes' must have a type of labels"),
    "numbers that do not fit": (put("classes", {"type": "|i1", "values": [3, 300]}), "'classes' must be labels of type"),
    "an unknown value": (put("colour", "red"), "it has a value 'colour', which is not known"),
    "a missing value": (lambda facts: facts.pop("alpha"), "it has no value 'alpha'"),
    "another version": (put("version", 1), "it has version 1 of the format, not 2"),
    "a version of another type": (put("version", [2]), "it has version"),
    "a shape of 10^18": (put("shape", [10**9, 10**9, 1]), "'shape' must be the shape of a sample"),
    "no shape": (put("shape", []), "'shape' must be"),
    "a seed below 0": (put("seed", -1), "'seed' must be null or a seed, not -1"),
    "a seed of 65 bits": (put("seed", 2**64), "has more than 64 bits"),
    "a map of another kind": (put("features", "Cosine"), "'features' must be null or a feature map"),
    "names that are none": (put("names", [3]), "'names' must be a list of names"),
    "a law that is none": (put("cascade", "gaussian"), "'cascade' must be null or a law"),
    "no levels": (put("levels", []), "'levels' must be"),
    "a history of another kind": (
        lambda facts: facts["levels"][0]["history"].__setitem__("seen", "6"), "'levels' must be record, history and members",
    ),
    "a member of no number": (
        lambda facts: facts["levels"][0]["members"].__setitem__("x", "0" * 64), "'levels' must be",
    ),
    "a share above 1": (put("decided", 1.5), "'decided' must be null or a share"),
}  # fmt: skip


@pytest.mark.parametrize("reseal", [False, True], ids=["as it is", "sealed anew"])
@pytest.mark.parametrize(("change", "said"), SCHEMA.values(), ids=list(SCHEMA))
def test_damaged_values_are_one_sentence_each(change: Edit, said: str, reseal: bool, saved: Path) -> None:
    edit(saved, change, reseal)
    refused(saved, said)


TEXTS = {
    "nothing": (b"", "damaged"),
    "no JSON": (b"{", "damaged"),
    "no object": (b"[]", "it is not a JSON object"),
    "no text": (b"\xff\xfe{}", "it is not UTF-8"),
    "deep": (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "deep enough": (b"[" * 100 + b"]" * 100, "nested too deeply"),
    "NaN": (b'{"alpha": NaN}', "NaN is not a number"),
    "10^400": (b'{"alpha": 1' + b"0" * 400 + b"}", "more than 64 bits"),
    "1e400": (b'{"alpha": 1e400}', "too large"),
    "10^5000": (b'{"alpha": 1' + b"0" * 5000 + b"}", "more than 64 bits"),
    "half a character": (rb'{"alpha": "\ud800"}', "half of a surrogate pair"),
    "half a character as a key": (rb'{"\udfff": 1}', "half of a surrogate pair"),
    "a key twice": (b'{"alpha": 0.1, "alpha": 0.2}', "a key occurs in it twice"),
}


@pytest.mark.parametrize(("text", "said"), TEXTS.values(), ids=list(TEXTS))
def test_texts_that_are_no_facts_are_one_sentence_each(text: bytes, said: str, saved: Path) -> None:
    (saved / "estimator.json").write_bytes(text)
    refused(saved, said)


CHANGES: dict[str, Edit] = {
    "other labels": put_class("values", ["ja", "yes"]),
    "another alpha": put("alpha", 0.4),
    "grown forgotten": put("grown", True),
    "another seed": put("seed", 4),
    "no seed": put("seed", None),
    "classes given": put("classes_given", True),
    "looks forgotten": lambda facts: facts["levels"][0]["history"].__setitem__("seen", []),
    "another fingerprint": put("fingerprint", "0" * 64),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_facts_that_were_changed_are_noticed(change: Edit, saved: Path) -> None:
    edit(saved, change)
    refused(saved, "its fingerprint is another|'grown' contradicts")


RESEALED: dict[str, tuple[Edit, str]] = {
    "fewer members": (put("n_members", 5), "'levels' must list the members 0 to 4"),
    "more classes": (
        put("classes", {"type": "<i8", "values": [0, 1, 2]}), r"disagree about 'classes' \(3, 2\)",
    ),
    "another seed": (put("seed", 4), "disagree about 'seed'"),
    "another shape": (put("shape", [1, 8, 9]), "disagree about 'shape'"),
    "a map": (
        put("features", {"name": "Cosine", "sizes": {"size": 4}, "words": "a map"}), "disagree about 'features'",
    ),
    "grown, but no level": (put("grown", True), "'grown' contradicts 'levels'"),
    "another record": (
        lambda facts: facts["levels"][0].__setitem__("record", "0" * 64), "its manifest.json is not the one that was saved",
    ),
    "another member": (
        lambda facts: facts["levels"][0]["members"].__setitem__("3", "0" * 64), "its member 3 is not the one that was saved",
    ),
    "more looks than there were": (
        lambda facts: facts["levels"][0]["history"].__setitem__("seen", [5, 6]), "its history lacks what was saved about 'seen'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "said"), RESEALED.values(), ids=list(RESEALED))
def test_what_two_places_say_has_to_agree_even_with_a_fingerprint_made_anew(
    change: Edit, said: str, saved: Path
) -> None:
    edit(saved, change, reseal=True)
    refused(saved, said)


def test_the_fingerprint_kept_elsewhere_tells_what_is_sealed_anew(
    saved: Path, original: tuple[cs.CertifiedClassifier, Path, str]
) -> None:
    clf, _, fingerprint = original
    again = cs.CertifiedClassifier.load(saved, fingerprint=fingerprint)
    np.testing.assert_array_equal(again.votes(X_TEST), clf.votes(X_TEST))
    edit(saved, put_class("values", ["ja", "yes"]), reseal=True)
    assert cs.CertifiedClassifier.load(saved).classes_.tolist() == ["ja", "yes"]
    refused(saved, f"is not the ensemble that was asked for.*not {fingerprint}", fingerprint=fingerprint)
    for other in ("", "0" * 63, fingerprint.upper(), 3):
        with pytest.raises(cs.ParameterError, match="'fingerprint'.*64 hexadecimal digits"):
            cs.CertifiedClassifier.load(saved, fingerprint=other)  # type: ignore[arg-type]


def test_the_same_ensemble_has_the_same_fingerprint_and_another_one_another(
    tmp_path: Path, original: tuple[cs.CertifiedClassifier, Path, str]
) -> None:
    clf, folder, fingerprint = original
    assert clf.save(tmp_path / "a") == cs.CertifiedClassifier.load(folder).save(tmp_path / "b") == fingerprint
    assert classifier(seed=4).save(tmp_path / "c") != fingerprint


def member(folder: Path, number: int) -> Path:
    return folder / f"member-{number:06}.safetensors"


def relabel(path: Path, shift: bool = False, **change: Any) -> bytes:
    """The file with another header, or other values, and the right digests, as somebody makes it who knows how."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    own = json.loads(header["__metadata__"]["certssb"])
    if shift:
        data = data[4:] + data[:4]
        # Values in the order of the layout: weights, then bias.
        parts = [header[name]["data_offsets"] for name in ("fc1.weight", "fc1.bias")]
        change["values"] = hashlib.sha256(b"".join(data[start:end] for start, end in parts)).hexdigest()
    header["__metadata__"]["certssb"] = json.dumps(own | change, separators=(",", ":"))
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_a_foreign_member_is_noticed_whatever_it_says_of_itself(saved: Path, tmp_path: Path) -> None:
    good = member(saved, 3).read_bytes()
    member(saved, 3).write_bytes(relabel(member(saved, 3)))
    cs.CertifiedClassifier.load(saved)
    member(saved, 3).write_bytes(relabel(member(saved, 3), shift=True))
    assert member(saved, 3).read_bytes() != good
    refused(saved, "its member 3 is not the one that was saved")
    member(saved, 3).write_bytes(relabel(member(saved, 2), member=3))
    refused(saved, "its member 3 is not the one that was saved")
    classifier(seed=9).save(tmp_path / "other")
    mine = json.loads((saved / "estimator.json").read_text())["levels"][0]["record"]
    member(saved, 3).write_bytes(relabel(member(tmp_path / "other", 3), manifest=mine))
    refused(saved, "its member 3 is not the one that was saved")
    member(saved, 3).unlink()
    refused(saved, "1 of 6 members are missing or damaged")


def test_a_manifest_of_another_ensemble_is_noticed(saved: Path, tmp_path: Path) -> None:
    classifier(alpha=0.3, law=cs.Subsample(cs.Gaussian(0.5), size=20)).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "manifest.json", saved)
    refused(saved, "manifest.json is not")


def test_history_that_was_lost_is_noticed(saved: Path) -> None:
    (saved / "history-seen-000006.json").unlink()
    refused(saved, "its history lacks what was saved about 'seen'")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_saving_again_needs_overwrite_where_settings_differ_and_leaves_one_of_the_two(tmp_path: Path) -> None:
    folder = tmp_path / "ensemble"
    first = classifier().save(folder)
    assert classifier().save(folder) == first, "a notebook that runs again"
    before = content(folder)
    other = classifier(epochs=2)
    with pytest.raises(cs.CheckpointError, match="other settings or data.*epochs: 1 there, 2 here"):
        other.save(folder)
    assert content(folder) == before
    fingerprint = other.save(folder, overwrite=True)
    again = cs.CertifiedClassifier.load(folder, fingerprint=fingerprint)
    np.testing.assert_array_equal(again.votes(X_TEST), other.votes(X_TEST))
    assert os.listdir(tmp_path) == ["ensemble"], "nothing is left beside it"
    fewer = classifier(n_members=5, epochs=3, alpha=0.4)
    fewer.save(folder, overwrite=True)
    assert not member(folder, 5).exists(), "nothing of the one before is left in it"
    assert other.save(folder, overwrite=True) == fingerprint


def test_one_level_and_a_cascade_replace_each_other(tmp_path: Path) -> None:
    folder, law = tmp_path / "ensemble", cs.Cascade([cs.Gaussian(0.5), cs.Gaussian(0.25)])
    one, two = classifier(), classifier(law=law)
    for clf, names in ((one, {"manifest.json"}), (two, {"level-0", "level-1"}), (one, {"manifest.json"})):
        if folder.exists():
            before = content(folder)
            with pytest.raises(cs.CheckpointError, match="another one is there. overwrite=True replaces it"):
                clf.save(folder)
            assert content(folder) == before
        fingerprint = clf.save(folder, overwrite=True)
        assert (
            names <= set(os.listdir(folder))
            and len({"manifest.json", "level-0"} & set(os.listdir(folder))) == 1
        )
        cs.CertifiedClassifier.load(folder, fingerprint=fingerprint)


def test_somebody_elses_files_are_never_overwritten(tmp_path: Path, saved: Path) -> None:
    clf = classifier(epochs=2)
    for make, said in (
        (lambda f: (f / "thesis.tex").write_text("mine"), "thesis.tex"),
        (lambda f: (f / "level-0").mkdir() or (f / "level-0" / "photo.jpg").write_text("mine"), "photo.jpg"),
    ):
        folder = Path(shutil.copytree(saved, tmp_path / said))
        make(folder)
        before = content(folder)
        with pytest.raises(cs.CheckpointError, match=f"cannot be overwritten: it holds '.*{said}'"):
            clf.save(folder, overwrite=True)
        assert content(folder) == before
    kept = tmp_path / "members"
    classifier(checkpoint=kept)
    with pytest.raises(cs.CheckpointError, match="other settings or data"):
        clf.save(kept, overwrite=True)
    assert len(list(kept.glob("member-*"))) == 6, "a checkpoint is no saved ensemble"
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        (tmp_path / "file").write_text("mine")
        with pytest.raises(cs.CheckpointError):
            clf.save(place, overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_link_to_a_folder_stays_one(tmp_path: Path, saved: Path) -> None:
    link = tmp_path / "latest"
    link.symlink_to(saved, target_is_directory=True)
    fingerprint = classifier(epochs=2).save(link, overwrite=True)
    assert link.is_symlink()
    cs.CertifiedClassifier.load(saved, fingerprint=fingerprint)


KILLED = """
import os, sys
import test_saved as t
from certssb import _core
from certssb.storage import _files
moment, folder = sys.argv[1:]
real = _files.write
def write(path, content):
    if moment == "before": os._exit(9)
    real(path, content)
    if moment == "after": os._exit(9)
_files.write = write
t.classifier(epochs=2).save(folder, overwrite=True)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_process_killed_while_it_overwrites_leaves_the_earlier_ensemble(
    moment: str, saved: Path, original: tuple[cs.CertifiedClassifier, Path, str]
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, moment, str(saved)], cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 9, ran.stderr
    cs.CertifiedClassifier.load(saved, fingerprint=original[2])
    assert len(os.listdir(saved.parent)) == 2, "a draft was left"
    classifier(epochs=3).save(saved, overwrite=True)
    assert os.listdir(saved.parent) == ["ensemble"], "and swept by the next one"


def test_labels_of_any_kind_come_back(tmp_path: Path) -> None:
    kinds: list[Any] = [
        [False, True], [-5, 3], np.array([1, 200], np.uint8), [0.0, 1e300], ["a", "b" * 9], np.array(["x", "y"], object),
        np.array([2**63, 2**64 - 1], np.uint64), np.array([1, 2], ">i4"), np.array([0, 1], np.longdouble),
    ]  # fmt: skip
    for place, labels in enumerate(kinds):
        labels = np.asarray(labels)
        clf = cs.CertifiedClassifier(
            "linear", cs.Subsample(size=9), n_members=4, epochs=1, alpha=0.5, seed=0, progress=False
        )
        clf.fit(X[:60], labels[y[:60]]).save(tmp_path / str(place))
        again = cs.CertifiedClassifier.load(tmp_path / str(place)).classes_
        assert again.dtype == clf.classes_.dtype and again.tolist() == clf.classes_.tolist()
