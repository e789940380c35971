"""What the core wants of whoever computes members in Python, and what it tells them.

The core draws noised sets, hands them out to its threads, keeps what comes back, and counts; a learner computes. It is called
from several threads at the same time, each call with members of its own. Nothing but the noised set, the job's numbers
and what the user's factory gives may enter a member.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Job", "Learner"]

Floats = npt.NDArray[np.float32]


class Job(Protocol):
    """Which members a call is about, and how they are computed.

    Attributes
    ----------
    numbers : sequence of int
        The members.
    device : str
        "cpu" or "cuda:N".
    n_classes, epochs, batch_size, learning_rate
        As the estimator was told, in training; 0 where members are only asked.
    precision : str
        "f32" or "tf32".
    init_seeds, model_seeds : sequence of int
        For each member: what its first values are drawn from, and what the model draws from in training.
    search : dict or None
        Of a search for noise magnitudes: start, sigma_min, sigma_max, steps, learning_rate, samples.
    """

    @property
    def numbers(self) -> Sequence[int]: ...
    @property
    def device(self) -> str: ...
    @property
    def n_classes(self) -> int: ...
    @property
    def epochs(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def precision(self) -> str: ...
    @property
    def init_seeds(self) -> Sequence[int]: ...
    @property
    def model_seeds(self) -> Sequence[int]: ...
    @property
    def search(self) -> dict[str, Any] | None: ...

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Rows of each member's noised set in the order of this epoch, shape (S, n)."""
        ...

    @property
    def augments(self) -> bool:
        """Whether samples are to be changed, by :meth:`change` or :meth:`with_copies`."""
        ...

    def change(self, rows: npt.NDArray[np.float32], epoch: int, start: int) -> npt.NDArray[np.float32]:
        """Rows (S B, features) of the batch that begins at `start` of an epoch, each member's changed from its own streams."""
        ...

    def with_copies(self, rows: npt.NDArray[np.float32], place: int) -> npt.NDArray[np.float32]:
        """The noised set (n, features) of the member at `place`, followed by its changed copies, (n (1 + copies), features)."""
        ...

    def stopped(self) -> bool:
        """Whether to give up; asked at least once a batch."""
        ...


class Learner(Protocol):
    """Computes members.

    Attributes
    ----------
    name : str
        Identity in the record.
    behaviour : list of list of float
        Numbers that belong to the identity and are compared with a tolerance.
    specs : list of (str, list of int, bool), or None
        Name, shape and whether it is trained, for each tensor of a member; None if a member is an object.
    min_samples : int
        Smallest noised set.
    batch : int
        Rows that :meth:`ask` wants at a time.
    stacks : bool
        Whether calls may be about several members.
    stacks_are_sure : bool
        If not, members of a call that failed are trained again one by one.
    may_keep_state : bool
        Whether the first member of a run is trained twice, one by one on the CPU, and compared bit for bit.
    lanes : int
        Threads that share a GPU where there are no stacks.
    searches : bool
        Whether it has gradients in its inputs, for :meth:`search`.
    augments : {"every epoch", "once"}, or None
        Whether :meth:`train` has every batch changed by :meth:`Job.change`, or its noised sets by :meth:`Job.with_copies`;
        None, or no such attribute: it takes no augmentation.
    libraries : str
        The libraries that members are computed with, and their versions, for example "torch 2.11.0": a fit on grown data under a
        partition keeps no learner of another release. Empty, or no such attribute: none.
    why_not : str or None
        Why members are not computed in stacks, if that was tried.
    """

    # Of learners whose members are objects, beside these: `form`, in which objects are written into files (None: in none),
    # `pack(object) -> bytes` and `unpack(bytes) -> object` in that form, and `same(object, object) -> bool`, bit for bit.

    name: str
    behaviour: list[list[float]]
    specs: list[tuple[str, list[int], bool]] | None
    min_samples: int
    batch: int
    stacks: bool
    stacks_are_sure: bool
    may_keep_state: bool
    searches: bool
    why_not: str | None

    @property
    def lanes(self) -> int: ...

    # Asked by the estimator, around a fit.

    def try_stacks(self, device: str, stack: int | None) -> None:
        """Find out whether stacks are what their members are alone, if there are to be any on `device`; sets `stacks`."""
        ...

    def check_alone(self, device: str, n_steps: int) -> None:
        """Refuse, before training, what would let members share state."""
        ...

    def is_disturbed(self) -> bool:
        """Whether training left traces in what all members see; none of them is kept then."""
        ...

    def suspects(self) -> list[str]:
        """Names of what was changed, for the message."""
        ...

    # Asked by the core, in its threads.

    def devices(self) -> list[str]:
        """Names of the devices that are there, "cpu" first."""
        ...

    def starting(self) -> AbstractContextManager[None]:
        """Held while the core starts its threads, until each has called :meth:`enter`."""
        ...

    def enter(self, device: str) -> None:
        """The first call in every thread."""
        ...

    def train(
        self, job: Job, X: Floats, y: npt.NDArray[np.int64]
    ) -> tuple[Floats | list[Any], Floats] | None:
        """Train members on noised sets X (S, n, ...), y (S, n).

        Returns
        -------
        (values, losses), or None
            Values of shape (S, n_values), trained ones first, or a list of S objects where `specs` is None. Losses of
            shape (S,): NaN for a member whose training diverged. None if the job was stopped.
        """
        ...

    def ask(self, job: Job, values: Sequence[Any], X: Floats) -> Floats | None:
        """Logits (S, m, n_classes) of members for inputs (m, ...) of all or (S, m, ...) of each; None if stopped."""
        ...

    def search(
        self, job: Job, values: Any, X: Floats, classes: npt.NDArray[np.int64] | None, noise: Floats
    ) -> Floats | None:
        """Noise magnitudes (m,) that a member bears at inputs (m, ...), with noise (steps, samples, ...)."""
        ...
