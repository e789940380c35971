"""Whether a machine was quiet while something was measured: what others took of its cores, how far rounds lie apart."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

# A share of all cores, though never less than a tenth of one, and a spread between rounds, that change no ratio much.
OTHERS = 0.05
SPREAD = 0.25
# The system counts in hundredths of a second: of less than this nothing can be said.
LONG = 0.2


def busy_seconds(text: str, ticks: int) -> float | None:
    """Seconds that all cores together have worked or were taken away, from /proc/stat."""
    words = text.split(None, 9)
    if words[:1] != ["cpu"] or len(words) < 9:
        return None
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, words[1:9])
    return (user + nice + system + interrupts + soft + stolen) / ticks


def _busy() -> float | None:
    try:
        with open("/proc/stat") as file:
            return busy_seconds(file.readline(), os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError):
        return None


def _own() -> float:
    """Processor seconds of this process and of the children it has waited for."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


class Beside:
    """Core seconds that others take from now on."""

    def __init__(self) -> None:
        self._own, self._busy = _own(), _busy()

    def seconds(self) -> float | None:
        """None where the system does not tell, or tells less than what this process alone has used."""
        own, busy = _own() - self._own, _busy()
        if busy is None or self._busy is None:
            return None
        others = busy - self._busy - own
        return None if others < -0.5 * own - 0.1 else max(others, 0.0)


@dataclass(frozen=True)
class Surroundings:
    """Cores that others kept busy meanwhile, in the mean, and the slowest round of a side over its fastest, less one;
    None where that is not known (one round, or a system that does not tell)."""

    others: float | None
    spread: float | None

    @property
    def complaints(self) -> list[str]:
        """What speaks against the figures; empty on a machine that was quiet, as far as that is known."""
        found = []
        cores = os.cpu_count() or 1
        if self.others is not None and self.others > max(0.1, OTHERS * cores):
            found.append(f"others took {self.others:.1f} of {cores} cores")
        if self.spread is not None and self.spread > SPREAD:
            found.append(f"rounds lie {100 * self.spread:.0f} % apart")
        return found


def surroundings(sides: Iterable[tuple[list[float], list[float | None]]]) -> Surroundings:
    """From each side's rounds: their seconds, and the core seconds of others during each."""
    sides = list(sides)
    seconds = [second for own, _ in sides for second in own]
    beside = [other for _, others in sides for other in others]
    known = [other for other in beside if other is not None]
    others = sum(known) / sum(seconds) if sum(seconds) >= LONG and len(known) == len(beside) else None
    apart = [max(own) / min(own) - 1 for own, _ in sides if len(own) > 1]
    return Surroundings(others, max(apart, default=None))
