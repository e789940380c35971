"""A folder of checkpoints, in which each ensemble has its own under a name that its record makes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from certssb import _core

__all__ = ["Shelf"]


class Shelf(os.PathLike[str]):
    """In place of a checkpoint directory, until the record is known.

    Attributes
    ----------
    found : pathlib.Path or None
        The checkpoint that was named last.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.found = folder, None

    found: Path | None

    def __fspath__(self) -> str:
        return str(self.folder)

    def place(self, record: str, n_members: int, seed_given: bool) -> Path:
        """The checkpoint of an ensemble; a seed that was drawn is none of its name, so that it is found again."""
        facts = json.loads(record)
        if not seed_given:
            del facts["seed"]
            # Of each number of members, with a seed of its own: members that were seen spoil another number of them. Under a
            # seed that was given they are the same ones, and one checkpoint knows which numbers were seen.
            facts["n_members"] = n_members
        text = json.dumps([_core.__version__, facts], sort_keys=True)
        self.found = self.folder / hashlib.sha256(text.encode()).hexdigest()[:32]
        return self.found

    def clear(self) -> None:
        """Remove the members of the checkpoint that was named last. At which numbers of members answers were seen stays
        written down: under the same seed the same members are trained again.
        """
        assert self.found is not None
        for place, folders, files in os.walk(self.found):
            links = [name for name in folders if os.path.islink(os.path.join(place, name))]
            for name in [*files, *links]:
                # Others may clear the same checkpoint, and write to it: their drafts, and the folders of levels, stay.
                if not name.startswith(("history-", ".certssb-")):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(os.path.join(place, name))
