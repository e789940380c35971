"""One module of the user's in the core's hands: its tensors are replaced by those of a member, or of a stack of members."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from certssb.learners.torch import _factory_checks as checks
from certssb.learners.torch import _stacks
from certssb.learners.torch import _state as state
from certssb.learners.torch._randomness import MemberStream

__all__ = ["Instance"]


class Instance:
    """One module of the user's, as the core drives it: its tensors are the core's.

    Parameters
    ----------
    module : Module
        Nobody else's.
    n_classes : int
        Number of classes.
    stream : MemberStream, optional
        Where it draws from in training.
    channels_last : bool, default=False
        Whether to hand images of a single member over with channels innermost in memory, which convolutions on the
        CPU like.
    stack : int, default=1
        Number of members; of several, each tensor has one more dimension in front, and one call of the module
        computes all of them (``torch.func.vmap``).
    """

    def __init__(
        self,
        module: nn.Module,
        n_classes: int,
        stream: MemberStream | None = None,
        channels_last: bool = False,
        stack: int = 1,
    ) -> None:
        self.module = module
        self._n_classes = n_classes
        self._stream = stream
        self._innermost = channels_last and stack == 1
        self._stack = stack
        self._mode: bool | None = None
        self._trained: list[torch.Tensor] = []
        self._running: list[torch.Tensor] = []
        self._own: list[torch.Tensor] = []
        if stack > 1:
            _stacks.quiet(1)

    def bind(self, trained: Sequence[torch.Tensor], running: Sequence[torch.Tensor]) -> None:
        """Put the core's tensors into the module's places; see :meth:`settle` for what training writes to `running`."""
        self._trained, self._running = list(trained), list(running)
        if self._trained[0].device.type != "cpu":
            self.module.to(self._trained[0].device)
        places = state.places(self.module)
        self._trained_places = places[: len(self._trained)]
        self._running_places = places[len(self._trained) :]
        kinds = [table[key].dtype for (table, key), *_ in self._running_places]
        # Counters and masks keep their own type; the core keeps floats.
        self._own = [
            tensor if kind == tensor.dtype else tensor.to(kind)
            for tensor, kind in zip(self._running, kinds, strict=True)
        ]
        _put(self._running_places, self._own)

    def lay_out(self, x: torch.Tensor) -> torch.Tensor:
        """Samples as :meth:`images` wants them: in the order of memory that the module likes."""
        return x.permute(0, 2, 3, 1).contiguous() if self._innermost else x

    def images(self, x: torch.Tensor) -> torch.Tensor:
        """Samples of the usual shape, from what :meth:`lay_out` made of them or rows of that."""
        return x.permute(0, 3, 1, 2) if self._innermost else x

    def __call__(self, x: torch.Tensor, train: bool) -> torch.Tensor:
        """Logits of a batch."""
        if train is not self._mode:
            # Walking through all parts costs as much as an operation of torch.
            self.module.train(train)
            self._mode = train
        compute = self._alone if self._stack == 1 else self._together
        version = x._version
        if train and self._stream is not None:
            with self._stream():
                logits, running = compute(self._trained, x)
        else:
            logits, running = compute(self._trained, x)
        if x._version != version:
            raise checks.in_place(state.label("", self.module))
        if train and self._stack > 1:
            self._take(running)
        return logits

    def settle(self) -> None:
        """Write to the tensors of :meth:`bind` what frozen parameters and buffers have become."""
        if self._stack == 1:
            self._keep_running([table[key] for (table, key), *_ in self._running_places])
        else:
            self._keep_running(self._own)

    def close(self) -> None:
        """Let go of all tensors, even if the module lives on in a cycle."""
        state.let_go(self.module)
        self._trained, self._running, self._own = [], [], []
        self.module = nn.Module()
        if self._stack > 1:
            _stacks.quiet(-1)

    def _alone(
        self, trained: Sequence[torch.Tensor], x: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits of one member, or of any one of a stack; and what its buffers are now."""
        _put(self._trained_places, trained)
        logits = checks.check_logits(self.module(x), len(x), self._n_classes, self.module)
        return logits, [table[key] for (table, key), *_ in self._running_places]

    def _together(
        self, trained: Sequence[torch.Tensor], x: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The same for all members of a stack: a functional call of the module, mapped over their tensors."""

        def member(
            trained: list[torch.Tensor], running: list[torch.Tensor], x: torch.Tensor
        ) -> tuple[torch.Tensor, list[torch.Tensor]]:
            _put(self._running_places, running)
            return self._alone(trained, x)

        result: tuple[torch.Tensor, list[torch.Tensor]] = torch.func.vmap(member, randomness="different")(
            list(trained), self._own, x
        )
        return result

    def _take(self, now: list[torch.Tensor]) -> None:
        """Copy what was replaced: a stack takes its buffers from `own` in every pass."""
        with torch.no_grad():
            for own, current in zip(self._own, now, strict=True):
                if current.data_ptr() != own.data_ptr():
                    own.copy_(current)

    def _keep_running(self, now: list[torch.Tensor]) -> None:
        """Copy what is not written in place: buffers of other types, and those that were replaced."""
        with torch.no_grad():
            for tensor, current in zip(self._running, now, strict=True):
                if current is not tensor:
                    tensor.copy_(current)


def _put(places: Sequence[state.Places], tensors: Sequence[torch.Tensor]) -> None:
    for places_of_one, tensor in zip(places, tensors, strict=True):
        for table, key in places_of_one:
            table[key] = tensor
