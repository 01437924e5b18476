# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Memory of past frames: a preallocated ring that a read looks into in place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vss_ros.core.errors import StageError
from vss_ros.core.stage import TensorSpec

Array = Any  # numpy, torch or a device array: whatever the runtime computes on
Empty = Callable[[tuple[int, ...], str], Array]  # (shape, dtype name) -> uninitialised array of the runtime
Download = Callable[[Array], npt.NDArray[Any]]  # a runtime's array to the host
Upload = Callable[[npt.NDArray[Any]], Array]  # the host's array to a runtime


@dataclass(frozen=True, slots=True)
class BankSpec:
    """Name and number of slots of a memory, and the tensors that each slot holds."""

    name: str
    slots: int
    tensors: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class MemoryView:
    """What a bank holds right now, in ring order; valid until the next push.

    Attributes:
        tensors: `(slots, ...)` arrays by name, the ring itself and not a copy.
        valid: `(slots,)` bool, which slots have been written since the last clear.
        age: `(slots,)` int, how many pushes ago a slot was written: 1 = the previous frame; 0 where not valid.
    """

    tensors: Mapping[str, Array]
    valid: npt.NDArray[np.bool_]
    age: npt.NDArray[np.int64]

    def __getitem__(self, name: str) -> Array:
        return self.tensors[name]

    def __len__(self) -> int:
        return int(self.valid.sum())


class Bank(Protocol):
    """What a plan may do with a memory."""

    def read(self) -> MemoryView: ...

    def push(self, **tensors: Array) -> None: ...

    def clear(self) -> None: ...


class MemoryBank:
    """First-in-first-out ring, allocated once; writing copies, because runtimes reuse their output buffers.

    Args:
        spec: name, slots and tensors.
        height: picture height in px.
        width: picture width in px.
        empty: allocator of the runtime.
    """

    def __init__(self, spec: BankSpec, height: int, width: int, empty: Empty) -> None:
        self.spec = spec
        self._tensors = {t.name: empty((spec.slots, *t.at(height, width)), t.dtype) for t in spec.tensors}
        self._shapes = {t.name: t.at(height, width) for t in spec.tensors}
        self._written_at = np.zeros(spec.slots, np.int64)  # number of the push that filled a slot; 0 = never
        self._pushes = 0

    @property
    def bytes(self) -> int:
        """Memory held by the ring in bytes."""
        return sum(int(np.prod(t.shape)) * int(t.itemsize) for t in self._tensors.values())

    def read(self) -> MemoryView:
        """The slots as they are, without a copy."""
        valid = self._written_at > 0
        age = np.where(valid, self._pushes + 1 - self._written_at, 0)
        return MemoryView(self._tensors, valid, age)

    def push(self, **tensors: Array) -> None:
        """Copy one frame's tensors into the oldest slot.

        Raises:
            StageError: names or shapes are not those of the bank.
        """
        if tensors.keys() != self._tensors.keys():
            raise StageError(f"bank '{self.spec.name}' wants {sorted(self._tensors)}, got {sorted(tensors)}")
        for name, tensor in tensors.items():
            if tuple(tensor.shape) != self._shapes[name]:
                raise StageError(
                    f"bank '{self.spec.name}' wants {name} {self._shapes[name]}, got {tuple(tensor.shape)}; "
                    "reset the stream after a change of picture size"
                )
        if self.spec.slots == 0:
            return
        slot = self._pushes % self.spec.slots
        self._pushes += 1
        for name, tensor in tensors.items():
            self._tensors[name][slot] = tensor
        self._written_at[slot] = self._pushes

    def clear(self) -> None:
        """Forget everything; the allocation stays."""
        self._written_at[:] = 0
        self._pushes = 0

    def on_host(self, download: Download) -> dict[str, npt.NDArray[Any]]:
        """A copy of what is remembered: `(slots, ...)` arrays by name, in the spec's dtypes, zero where nothing is."""
        empty = self._written_at == 0
        held = {t.name: np.array(download(self._tensors[t.name])) for t in self.spec.tensors}
        for array in held.values():
            array[empty] = 0  # what was never written may be anything, which other dtypes may not hold
        return {t.name: held[t.name].astype(t.dtype, copy=False) for t in self.spec.tensors}

    def moved(self, held: Mapping[str, npt.NDArray[Any]], upload: Upload) -> MemoryBank:
        """This bank on another runtime, with the tensors that `on_host` gave; this one stays as it is."""
        other = copy.copy(self)
        other._tensors = {name: upload(array) for name, array in held.items()}
        other._written_at = self._written_at.copy()
        return other
