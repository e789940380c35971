"""Damages ledgers at random and says what becomes of them; started by `test_fuzz_ledger.py` in a process of its own.

Whatever is done to its files, a ledger gives a named error, or the answers of the undamaged one. One case per line:
its number and what was done when it begins, then "ok" and what it came to, or "bad" and why. A case depends on its number
alone: `python tests/python/fuzz_ledger.py FOLDER 1234 1` repeats it.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import certssb as cs

PAGE, FRAME, LOG_HEADER = 4096, 4120, 32
NAMES = ("", "-wal", "-shm")

# A ledger as a killed process leaves it: in its log, with the log's index.
LEFT = """
import os, signal, sys
import numpy as np
import certssb as cs
path, n, d = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
X, classes, radii = np.load(path + ".npz").values()
ledger = cs.Ledger(path)
for start in range(0, n, 30):
    part = slice(start, start + 30)
    ledger.update_many(X[part], classes[part], radii[part])
os.kill(os.getpid(), signal.SIGKILL)
"""


def crowd(n, d, seed):
    rng = np.random.default_rng(seed)
    return rng.random((n, d), dtype=np.float32), rng.integers(0, 3, n), rng.random(n) * 0.2 * d**0.5


class Sound:
    """An undamaged ledger: its files, and what it answers."""

    def __init__(self, folder, name, n, d, left):
        self.path = folder / name
        X, classes, radii = crowd(n, d, seed=d)
        if left:
            np.savez(f"{self.path}.npz", X, classes, radii)
            command = [sys.executable, "-c", LEFT, str(self.path), str(n), str(d)]
            assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        elif n:
            with cs.Ledger(self.path) as ledger:
                ledger.update_many(X, classes, radii)
        else:
            cs.Ledger(self.path).close()
        self.files = {
            end: Path(f"{self.path}{end}").read_bytes() for end in NAMES if Path(f"{self.path}{end}").exists()
        }
        assert set(self.files) == (set(NAMES) if left else {""})
        self.points = np.concatenate([X[:5], crowd(15, d, seed=99)[0]])
        self.n = n
        copy = folder / f"{name}.copy"
        self.put(copy)
        with cs.Ledger(copy) as ledger:
            self.answers = answers(ledger, self.points)
        assert self.answers[0][1] == n

    def put(self, path):
        for end in (*NAMES, "-journal"):
            Path(f"{path}{end}").unlink(missing_ok=True)
        for end, content in self.files.items():
            Path(f"{path}{end}").write_bytes(content)


def answers(ledger, points):
    """Everything that a ledger says, updates of its own included."""
    frame = ledger.to_frame()
    told = [ledger.query(point) for point in points]
    sizes = (len(ledger), ledger.n_updates, ledger.dimension)
    rows = frame.to_csv()
    centres = ledger.centres()
    entries = [tuple(ledger.update(point, 1, 0.3)) for point in points[:3]]
    return sizes, rows, centres.tobytes(), told, entries


# What is done to a file's bytes.


def flip(rng, content):
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)


def scribble(rng, content):
    start = rng.integers(len(content))
    end = min(len(content), start + int(rng.choice([1, 2, 4, 8, 100, PAGE])))
    content[start:end] = rng.bytes(end - start)


def blank(rng, content):
    start = rng.integers(len(content)) // PAGE * PAGE * rng.integers(2)
    content[start : start + PAGE] = bytes(len(content[start : start + PAGE]))


def cut(rng, content):
    grain = int(rng.choice([1, 512, PAGE, FRAME]))
    del content[rng.integers(len(content)) // grain * grain :]


def extend(rng, content):
    content += bytes(PAGE) if rng.integers(2) else rng.bytes(int(rng.choice([1, 100, PAGE, FRAME])))


def swap(rng, content):
    size, offset = (FRAME, LOG_HEADER) if rng.integers(2) else (PAGE, 0)
    n = (len(content) - offset) // size
    if n < 2:
        return flip(rng, content)
    a, b = (offset + size * int(i) for i in rng.choice(n, 2, replace=False))
    if rng.integers(2):
        content[a : a + size], content[b : b + size] = content[b : b + size], content[a : a + size]
    else:
        content[a : a + size] = content[b : b + size]
    return None


def rewrite_header(rng, content):
    """A field of the header, with a number that is plausible or extreme."""
    field = int(rng.integers(25)) * 4
    number = int(rng.choice([0, 1, 2, 3, 4, 100, 4096, 65_536, 2**31 - 1, 2**31, 2**32 - 1]))
    content[field : field + 4] = number.to_bytes(4, "big" if rng.integers(2) else "little")


BYTES = [flip, flip, scribble, blank, cut, extend, swap, rewrite_header]

# What is done with SQL, by somebody with a database browser.

STATEMENTS = [
    "UPDATE entry SET radius = radius * 2 WHERE number = {row}",
    "UPDATE entry SET prediction = prediction + 1 WHERE number = {row}",
    "UPDATE entry SET asked_radius = 9e999 WHERE number = {row}",
    "UPDATE entry SET centre = zeroblob(length(centre)) WHERE number = {row}",
    "UPDATE entry SET centre = zeroblob(3) WHERE number = {row}",
    "UPDATE entry SET outcome = 'kept' || char(0) WHERE number = {row}",
    "UPDATE entry SET outcome = CASE outcome WHEN 'kept' THEN 'trimmed' ELSE 'kept' END WHERE number = {row}",
    "UPDATE entry SET cause = -1 WHERE number = {row}",
    "UPDATE entry SET digest = (SELECT digest FROM entry WHERE number = 0) WHERE number = {row} + 1",
    "UPDATE entry SET number = -5 WHERE number = {row}",
    "UPDATE entry SET number = 9223372036854775807 WHERE number = {row}",
    "DELETE FROM entry WHERE number = {row}",
    "DELETE FROM entry WHERE number >= {row}",
    "DELETE FROM entry",
    "DELETE FROM ledger",
    "INSERT INTO entry SELECT number + 1000, centre, 1, 1, 1, 1, 'kept', NULL, digest FROM entry WHERE number = {row}",
    "UPDATE ledger SET entries = {row}",
    "UPDATE ledger SET entries = 0, regions = 0, dimension = 0, digest = zeroblob(32)",
    "UPDATE ledger SET entries = -1",
    "UPDATE ledger SET regions = 9223372036854775807",
    "UPDATE ledger SET dimension = 9223372036854775807",
    "UPDATE ledger SET digest = zeroblob(31)",
    "DROP TABLE entry",
    "DROP TABLE ledger",
    "ALTER TABLE entry ADD COLUMN extra TEXT",
    "ALTER TABLE entry RENAME TO other",
    "CREATE INDEX entries ON entry (radius)",
    "CREATE VIEW views AS SELECT * FROM entry",
    "CREATE TABLE extra (a INTEGER)",
    "CREATE TRIGGER forger AFTER INSERT ON entry BEGIN UPDATE ledger SET regions = 7; END",
    "PRAGMA user_version = 0",
    "PRAGMA user_version = 2",
    "PRAGMA application_id = 0",
    "PRAGMA journal_mode = delete",
    "PRAGMA auto_vacuum = 1; PRAGMA journal_mode = delete; VACUUM",
    "PRAGMA journal_mode = delete; PRAGMA page_size = 1024; VACUUM",
    "VACUUM",
]


def with_sql(rng, sound, path):
    statement = STATEMENTS[rng.integers(len(STATEMENTS))].format(row=rng.integers(max(1, sound.n)))
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.executescript(statement)
    except sqlite3.Error:
        pass
    finally:
        other.close()
    return statement


def with_foreign_files(rng, sound, others, path):
    """Parts of another ledger or of no ledger at all; a file fewer, or one more."""
    other = others[rng.integers(len(others))]
    kind = int(rng.integers(9))
    end = str(rng.choice(sorted(sound.files)))
    file = Path(f"{path}{end}")
    content = bytearray(file.read_bytes())
    if kind == 0:
        size = int(rng.choice([24, 100, PAGE, 2 * PAGE, 3 * PAGE]))
        content[:size] = other.files.get(end, other.files[""])[:size]
    elif kind == 1:
        at = PAGE * int(rng.integers(len(content) // PAGE + 1))
        content[at : at + PAGE] = other.files[""][PAGE * int(rng.integers(len(other.files[""]) // PAGE)) :][
            :PAGE
        ]
    elif kind == 2:
        content = bytearray(rng.bytes(int(rng.choice([1, 15, 16, 99, 100, 5000]))))
    elif kind == 3:
        content = bytearray()
    elif kind == 4 and end == "-wal":
        file.unlink()
        return "no log"
    elif kind == 5 and end == "-shm":
        file.unlink()
        return "no index of the log"
    elif kind == 6 and "-wal" not in sound.files and "-wal" in other.files and sound.n:
        # (An empty ledger with the log of another one is that one.)
        Path(f"{path}-wal").write_bytes(other.files["-wal"])
        return f"the log of {other.path.name}"
    elif kind == 7:
        Path(f"{path}-journal").write_bytes(rng.bytes(int(rng.choice([1, 28, 512, 5000]))))
        return "a journal"
    else:
        flip(rng, content)
    file.write_bytes(content)
    return f"foreign content {kind} in '{end}'"


def damage(rng, sound, others, path):
    """Damages the ledger at `path`, and says how."""
    way = rng.integers(10)
    if way < 2:
        return with_sql(rng, sound, path)
    if way < 4:
        return with_foreign_files(rng, sound, others, path)
    end = str(rng.choice(sorted(sound.files)))
    content = bytearray(Path(f"{path}{end}").read_bytes())
    change = BYTES[rng.integers(len(BYTES))]
    change(rng, content)
    Path(f"{path}{end}").write_bytes(content)
    return f"{change.__name__} in '{end}'"


def under_an_open_ledger(rng, sound, path):
    """The same while a ledger is open: bytes of file and log, and rows. Its answers, or a named error."""
    with cs.Ledger(path) as ledger:
        if rng.integers(2):
            what = with_sql(rng, sound, path)
        else:
            # A log's index lies in the memory of every process that has it open; to cut it would end them all.
            end = str(rng.choice([name for name in sound.files if name != "-shm"]))
            file = Path(f"{path}{end}")
            content = bytearray(file.read_bytes())
            if not content:
                return "nothing", answers(ledger, sound.points)
            change = [flip, scribble, blank][rng.integers(3)]
            change(rng, content)
            with open(file, "r+b") as known:
                known.write(content)
            what = f"{change.__name__} in '{end}' of an open ledger"
        say(what)
        return what, answers(ledger, sound.points)


def say(*words):
    print(*words, flush=True)


def outcome(rng, sounds, path):
    """One case: what was done, and what it came to."""
    sound = sounds[rng.integers(len(sounds))]
    others = [other for other in sounds if other is not sound]
    sound.put(path)
    is_open = rng.integers(5) == 0 and sound.n > 0
    if not is_open:
        say(f"{sound.path.name}: {damage(rng, sound, others, path)}")
    try:
        if is_open:
            found = under_an_open_ledger(rng, sound, path)[1]
        else:
            with cs.Ledger(path, read_only=True) as reader:
                frame = len(reader.to_frame())
            with cs.Ledger(path) as ledger:
                found = answers(ledger, sound.points)
                assert frame == found[0][1]
                ledger.verify()
    except cs.LedgerError as error:
        text = str(error)
        if "\n" in text or str(path.name) not in text:
            return f"bad the message: {text!r}"
        return f"ok {type(error).__name__}"
    same = found == sound.answers
    return "ok same" if same else f"bad answers differ: {found[0]} instead of {sound.answers[0]}"


def main(folder, first, n):
    folder = Path(folder)
    sounds = [
        Sound(folder, "closed", 120, 2, left=False),
        Sound(folder, "wide", 40, 1500, left=False),
        Sound(folder, "left", 120, 2, left=True),
        Sound(folder, "wide-left", 60, 1100, left=True),
        Sound(folder, "empty", 0, 2, left=False),
    ]
    place = folder / "place"
    place.mkdir()
    for number in range(first, first + n):
        say(f"case {number}")
        rng = np.random.default_rng(number)
        start = time.process_time()
        try:
            result = outcome(rng, sounds, place / "regions.sqlite")
        except BaseException as error:  # noqa: BLE001 -- told to the parent
            result = f"bad {type(error).__name__}: {error}"
        took = time.process_time() - start
        if took > 2:
            result = f"bad {took:.1f} s of work ({result})"
        say(result)
    shutil.rmtree(place)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
