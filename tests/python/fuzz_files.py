"""Damages checkpoints, saved ensembles, tables and run folders at random, and says what becomes of them.

Started by `test_fuzz_files.py` in a process of its own. Whatever is done to the bytes, what is read is what was written, or
a named error says that it is not. One case per line: its number and what was done when it begins, then "ok" and what it
came to, or "bad" and why. A case depends on its number alone: `python tests/python/fuzz_files.py FOLDER 1234 1` repeats it.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
import warnings
from pathlib import Path

import numpy as np

import certssb as cs
from certssb import cli, report

X, y = cs.datasets.load_digits(classes=(0, 1))
X, y, ASKED = X[:60], y[:60], X[60:80]
RUN = ["--members", "12", "--epochs", "1", "--subsample", "100", "--sigma", "0.25", "--model", "linear", "--alpha", "0.3",
       "--quiet", "--seed", "0", "--classes", "0", "1"]  # fmt: skip

MEMORY = 16 << 30

HOSTILE = [
    None, True, False, 0, -1, 1, 2, 5, 10**9, 10**18, 2**63, 2**64, 10**400, 1.5, -0.5, 1e308, 5e-324, "", "6", "x" * 99,
    "\ud800", "\0", [], {}, [[]], [1, 2, 3], {"a": 1}, [10**9] * 3,
]  # fmt: skip


def classifier(**settings):
    law = cs.Subsample(cs.Gaussian(0.25), size=20)
    return cs.CertifiedClassifier(
        "linear", law, n_members=4, epochs=1, alpha=0.6, seed=3, progress=False, **settings
    )


def said(clf):
    """Everything that a classifier answers."""
    certs = clf.certify(ASKED)
    return (
        certs.guarantee,
        clf.votes(ASKED).tobytes(),
        clf.predict(ASKED).tolist(),
        certs.radius,
        clf.alpha,
        clf.record(),
    )


class Checkpoint:
    def make(self, folder):
        classifier(checkpoint=folder).fit(X, y)

    def read(self, folder):
        return said(classifier(checkpoint=folder).fit(X, y))


class Shards:
    def make(self, folder):
        classifier(checkpoint=folder, members="disk").set_params(n_members=12).fit(X, y)

    def read(self, folder):
        return said(classifier(checkpoint=folder, members="disk").set_params(n_members=12).fit(X, y))


class Votes:
    def make(self, folder):
        classifier(checkpoint=folder, members="votes").fit(X, y, vote_on=ASKED)

    def read(self, folder):
        return said(classifier(checkpoint=folder, members="votes").fit(X, y, vote_on=ASKED))


class Saved:
    def make(self, folder):
        classifier().fit(X, y).save(folder)

    def read(self, folder):
        return said(cs.CertifiedClassifier.load(folder))


class Cascade:
    def make(self, folder):
        law = cs.Cascade([cs.Gaussian(0.5), cs.Gaussian(0.25)])
        classifier().set_params(law=law, n_members=6).fit(X, np.array(["no", "yes"])[y]).save(folder)

    def read(self, folder):
        return said(cs.CertifiedClassifier.load(folder))


class Table:
    def make(self, folder):
        folder.mkdir()
        votes = np.arange(3000).reshape(1000, 3) % np.array([7, 50, 999]) == 0
        table = cs.certify_votes(votes, cs.Gaussian(0.5) & cs.LabelNoise(0.1), n_train=100, n_classes=2)
        table.save(folder / "table.npz")

    def read(self, folder):
        table = cs.CertificateTable.load(folder / "table.npz")
        return (
            table.guarantee,
            table.to_frame(n_poisoned=1).to_json(),
            repr(table),
            table.trigger_norm(2).tolist(),
        )


class Run:
    def make(self, folder):
        assert cli.main(["run", *RUN, "--out", str(folder)]) == 0

    def read(self, folder):
        page = report.write_report(folder, folder.parent / "page.html").read_text()
        return (page,)


class Audited(Run):
    def read(self, folder):
        found = cs.audit(folder)
        if not found.ok:
            # Said in a report, and by no exception.
            failed = [row.what for row in found.rows if row.result == "FAILED"]
            assert failed
            raise cs.FileError(f"{folder}: {', '.join(failed)} failed")
        # A page that is not there claims nothing.
        return [(row.what, row.result) for row in found.rows if row.what != "report"]


THINGS = [Checkpoint(), Saved(), Cascade(), Table(), Run(), Shards(), Votes(), Audited()]


def flip(rng, content):
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))


def scribble(rng, content):
    at = int(rng.integers(len(content)))
    content[at : at + int(rng.integers(1, 20))] = rng.bytes(int(rng.integers(1, 20)))


def blank(rng, content):
    at, size = int(rng.integers(len(content))), int(rng.integers(1, 200))
    content[at : at + size] = bytes([int(rng.choice([0, 255, 32, 57]))]) * len(content[at : at + size])


def cut(rng, content):
    del content[int(rng.integers(len(content))) :]


def drop(rng, content):
    at = int(rng.integers(len(content)))
    del content[at : at + int(rng.integers(1, 50))]


def extend(rng, content):
    content += rng.bytes(int(rng.integers(1, 500)))


def size(rng, content):
    """A number somewhere becomes a large one."""
    at = int(rng.integers(len(content)))
    content[at : at + 8] = int(rng.choice([2**31, 2**40, 2**62, 2**63 - 1])).to_bytes(8, "little")


def digits(rng, content):
    """A decimal number somewhere becomes another."""
    places = [at for at, byte in enumerate(content) if 48 <= byte <= 57]
    if places:
        at = int(rng.choice(places))
        content[at : at + 1] = str(rng.choice([0, 9, 10**9, 10**18, 10**40, -1, 0.5])).encode()


CHANGES = [flip, scribble, blank, cut, drop, extend, size, digits]


def places_in(value, found, path=()):
    found.append(path)
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        places_in(part, found, (*path, key))
    return found


def with_json(rng, file):
    """A value of a JSON text becomes a hostile one, vanishes, or gets company."""
    value = json.loads(file.read_text())
    places = places_in(value, [])
    path = places[rng.integers(len(places))]
    hostile = HOSTILE[rng.integers(len(HOSTILE))]
    if not path:
        value = hostile
    else:
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        way = rng.integers(4)
        if way == 0:
            del holder[path[-1]]
        elif way == 1 and isinstance(holder, dict):
            holder["another"] = hostile
        else:
            holder[path[-1]] = hostile
    file.write_text(json.dumps(value))
    return f"{'.'.join(map(str, path))} of {file.name} -> {str(hostile)[:20]!r}"


def damage(rng, folder, others):
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.stat().st_size and not path.name.startswith("history-")
    )
    file = files[rng.integers(len(files))]
    way = rng.integers(10)
    if way < 3 and file.suffix == ".json":
        return with_json(rng, file)
    if way == 3:
        file.unlink()
        return f"no {file.name}"
    if way == 4:
        other = files[rng.integers(len(files))]
        content = other.read_bytes()
        file.write_bytes(content)
        return f"{other.name} in place of {file.name}"
    # (A whole table of somebody else is a table.)
    if way == 5 and file.name != "table.npz":
        strangers = sorted(
            path for path in others[rng.integers(len(others))].rglob(f"*{file.suffix}") if path.is_file()
        )
        if strangers:
            stranger = strangers[rng.integers(len(strangers))]
            shutil.copy(stranger, file)
            return f"{stranger.parent.name}/{stranger.name} in place of {file.name}"
    content = bytearray(file.read_bytes())
    done = []
    for _ in range(int(rng.integers(1, 4))):
        if content:
            change = CHANGES[rng.integers(len(CHANGES))]
            change(rng, content)
            done.append(change.__name__)
    file.write_bytes(content)
    return f"{', '.join(done)} in {file.name}"


def say(*words):
    print(*words, flush=True)


def same(one, other):
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def main(folder, first, n):
    warnings.simplefilter("error", RuntimeWarning)
    # What a damaged size asks for is more; what is read is less.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    folder = Path(folder)
    sound, answers = [], []
    for thing in THINGS:
        place = folder / type(thing).__name__.lower()
        thing.make(place)
        sound.append(place)
        copy = folder / "copy" / "thing"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(place, copy)
        answers.append(thing.read(copy))
    for number in range(first, first + n):
        say(f"case {number}")
        rng = np.random.default_rng(number)
        which = int(rng.integers(len(THINGS)))
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(sound[which], copy)
        say(f"{sound[which].name}: {damage(rng, copy, sound)}")
        start = time.process_time()
        try:
            found = THINGS[which].read(copy)
            result = "ok same" if same(found, answers[which]) else f"bad other answers: {found[0]}"
        except cs.CertssbError as error:
            text = str(error)
            named = str(copy) in text or "summary.json" in text or "'model'" in text
            result = (
                f"ok {type(error).__name__}"
                if named and "\n" not in text and len(text) < 2000
                else f"bad message: {text!r}"
            )
        except BaseException as error:  # noqa: BLE001 -- told to the parent
            result = f"bad {type(error).__name__}: {error}"
        took = time.process_time() - start
        say(result if took < 2 else f"bad {took:.1f} s of work ({result})")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
