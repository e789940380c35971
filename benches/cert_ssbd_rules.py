"""How large can the area under the certified-accuracy curve of any cascade be?

    python benches/cert_ssbd.py cifar one-pixel --votes VOTES
    python benches/cert_ssbd_rules.py VOTES/cifar-one-pixel.npz

Two classes: a level's margins are m and -m, so a rule that treats both classes alike is an odd function F of the levels'
margins, and its radius is F wherever F is 1-Lipschitz in the largest of their changes: that is all a proof knows of
them. The cascade is one such rule (a median of m_1 - tau, m_1 + tau and what the next level gives). This script asks for
the best of all: on a grid of two levels' margins it maximises the mean of max(F, 0) over the test samples, signed by
their *true* class, by linear programs (the objective is convex: it is linearised where F is positive, from several
starts, until nothing changes). No rule that can be computed without knowing the test set does better.

The bound behind it. Let B be the most by which F exceeds m_1 anywhere, at Q. For a sample P whose change from -Q is
largest in the first level, F(P) <= F(-Q) + m_1(P) + m_1(Q) = m_1(P) - B: whatever a rule adds to the samples that the
first level gets wrong, it takes from every one that this level is sure of. The area grows only if more samples gain than
lose.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from cert_ssbd import ALPHA, SIGMAS, load
from scipy.optimize import linprog
from scipy.sparse import coo_array
from scipy.stats import norm

import certssb as cs

Floats = npt.NDArray[np.float64]
STEP = 0.05


def margins(votes: npt.NDArray[np.uint16], y: npt.NDArray[np.int64]) -> Floats:
    """Each level's margin of the true class, as large as unanimous members certify at most; (levels, samples)."""
    n = votes.shape[1]
    most = float(cs.bounds.clopper_pearson_lower(n, n, ALPHA / 2))
    share = np.clip((votes == y).mean(axis=1), 1 - most, most)
    return norm.ppf(share) * np.array(SIGMAS)[:, None]


def histogram(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Shares of samples on the grid, and the first margin there."""
    a, b = np.rint(first / STEP).astype(int), np.rint(second / STEP).astype(int)
    height, width = np.abs(a).max(), np.abs(b).max()
    weights = np.zeros((2 * height + 1, 2 * width + 1))
    np.add.at(weights, (a + height, b + width), 1 / len(a))
    return weights, STEP * (np.arange(-height, height + 1)[:, None] + 0 * weights)


def constraints(shape: tuple[int, int]) -> tuple[coo_array, coo_array]:
    """|F - F'| <= step between neighbours, diagonal ones included, which is the Lipschitz condition; and oddness."""
    index = np.arange(np.prod(shape)).reshape(shape)
    one, other = [], []
    for down, right in [(1, 0), (0, 1), (1, 1), (1, -1)]:
        rows, columns = slice(0, shape[0] - down), slice(max(0, -right), shape[1] - max(0, right))
        there = slice(down, shape[0]), slice(max(0, right), shape[1] + min(0, right))
        one.append(index[rows, columns].ravel())
        other.append(index[there].ravel())
    i, j = np.concatenate([*one, *other]), np.concatenate([*other, *one])
    k = np.arange(len(i))
    ones = np.ones(len(i))
    apart = coo_array((np.concatenate([ones, -ones]), (np.concatenate([k, k]), np.concatenate([i, j]))))
    k, mirrored = index.ravel(), index[::-1, ::-1].ravel()
    odd = coo_array((np.ones(2 * len(k)), (np.concatenate([k, k]), np.concatenate([k, mirrored]))))
    return apart, odd


def best_rule(weights: Floats, start: Floats) -> Floats:
    """A rule with the largest mean of max(F, 0) that the linearisation from `start` leads to."""
    apart, odd = constraints(weights.shape)
    rule, area = start, -np.inf
    while True:
        gains = -(weights * (rule > 1e-9)).ravel()
        found = linprog(
            gains, apart, np.full(apart.shape[0], STEP), odd, np.zeros(odd.shape[0]), bounds=(None, None)
        )
        rule = found.x.reshape(weights.shape)
        now = float((weights * np.maximum(rule, 0)).sum())
        if now <= area + 1e-9:
            return rule
        area = now


def main() -> None:
    path = Path(sys.argv[1])
    _, _, _, y = load(path.stem.split("-")[0])
    levels = margins(np.load(path)["clean"], y)
    for second in range(1, len(SIGMAS)):
        weights, first = histogram(levels[0], levels[second])
        alone = float((weights * np.maximum(first, 0)).sum())
        rules = [best_rule(weights, start) for start in (first, np.ones_like(first))]
        areas = [float((weights * np.maximum(rule, 0)).sum()) for rule in rules]
        print(
            f"{path.stem}: sigma {SIGMAS[0]:g} and {SIGMAS[second]:g}: best area of any rule {max(areas):.4f}, "
            f"of the first level alone {alone:.4f}"
        )


if __name__ == "__main__":
    main()
