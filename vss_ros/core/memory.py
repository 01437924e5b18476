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
    """Name and number of slots of a memory, and the tensors that each slot holds.

    Attributes:
        name: by which a plan finds it.
        slots: of the ring.
        tensors: of each slot.
        every: of how many pushes one is kept, the first one for sure; ages count all of them. Where it is more than 1,
            a plan asks a `MemoryView` for `len` and `near` alone, see `runtimes/sparse_bank.py`.
    """

    name: str
    slots: int
    tensors: tuple[TensorSpec, ...]
    every: int = 1


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

    def at(self, slot: int, name: str) -> Array:
        """A slot's tensor, `(...)` without an axis of slots: the ring's own memory and not a copy."""
        return self.tensors[name][slot]

    def newest(self, name: str) -> Array:
        """What the last push wrote, as `at` gives it."""
        return self.at(int(np.flatnonzero(self.age == 1)[0]), name)

    def slot_of(self, age: int) -> int | None:
        """The slot that was written `age` pushes ago, None where nothing of then is remembered."""
        slots = np.flatnonzero(self.valid & (self.age == age))
        return int(slots[0]) if slots.size else None

    def slot_near(self, age: int) -> int:
        """The slot that was written about `age` pushes ago; of two that are equally near, the younger.

        Raises:
            StageError: nothing is remembered.
        """
        if not self.valid.any():
            raise StageError(f"a slot about {age} pushes old was wanted, the memory is empty; ask for its len first")
        slots = np.flatnonzero(self.valid)
        return int(min(slots, key=lambda slot: (abs(self.age[slot] - age), self.age[slot])))

    def near(self, age: int, name: str) -> Array:
        """What was written about `age` pushes ago, as `at` gives it; see `slot_near`.

        Raises:
            StageError: nothing is remembered.
        """
        return self.at(self.slot_near(age), name)


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
        spare: further slots of the ring. With one, the slot that is written next holds nothing that is remembered, so
            that a runtime can write there while the others are read; see `next_slot`.
    """

    def __init__(self, spec: BankSpec, height: int, width: int, empty: Empty, *, spare: int = 0) -> None:
        self.spec = spec
        count = spec.slots + spare if spec.slots else 0
        self._tensors = {t.name: empty((count, *t.at(height, width)), t.dtype) for t in spec.tensors}
        self._shapes = {t.name: t.at(height, width) for t in spec.tensors}
        self._ages = np.zeros(count, np.int64)  # pushes ago that a slot was written; 0 = nothing is remembered there
        self._offered: dict[str, Array] = {}  # what `next_slot` gave since the last push

    @property
    def bytes(self) -> int:
        """Memory held by the ring in bytes."""
        return sum(int(np.prod(t.shape)) * int(t.itemsize) for t in self._tensors.values())

    @property
    def ages(self) -> tuple[int, ...]:
        """Of the slots, as in a `MemoryView`. They say all about a bank but the numbers that it holds.

        Setting them says that others have filled the slots, as the replay of a recorded step does.
        """
        return tuple(self._ages.tolist())

    @ages.setter
    def ages(self, ages: tuple[int, ...]) -> None:
        self._ages[:] = ages
        self._offered = {}

    @property
    def is_full(self) -> bool:
        """Whether the next push makes it forget something."""
        return int(np.count_nonzero(self._ages)) == self.spec.slots

    def read(self) -> MemoryView:
        """The slots as they are, without a copy."""
        return MemoryView(self._tensors, self._ages > 0, self._ages.copy())

    def next_slot(self) -> Mapping[str, Array]:
        """Where the next push will put its tensors; empty where something that is remembered lies there until then.

        Pushing the very arrays that this gave copies nothing.
        """
        if not self._offered and self._ages.size and self._ages[slot := self._oldest()] == 0:
            self._offered = {name: tensor[slot] for name, tensor in self._tensors.items()}
        return self._offered

    def push(self, **tensors: Array) -> None:
        """Copy one frame's tensors into the slot that is free, or the oldest; or only grow older, see `BankSpec.every`.

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
        slot, keeps = self._oldest(), self._keeps_next()
        for name, tensor in tensors.items():
            if keeps and tensor is not self._offered.get(name):
                self._tensors[name][slot] = tensor
        self._offered = {}
        self._ages[self._ages > 0] += 1
        if keeps:
            self._ages[slot] = 1
        self._ages[self._ages > self.spec.slots * self.spec.every] = 0

    def clear(self) -> None:
        """Forget everything; the allocation stays."""
        self._ages[:] = 0
        self._offered = {}

    def on_host(self, download: Download) -> dict[str, npt.NDArray[Any]]:
        """A copy of what is remembered: `(slots, ...)` arrays by name, in the spec's dtypes, zero where nothing is."""
        empty = self._ages == 0
        held = {t.name: np.array(download(self._tensors[t.name])) for t in self.spec.tensors}
        for array in held.values():
            array[empty] = 0  # what was never written may be anything, which other dtypes may not hold
        return {t.name: held[t.name].astype(t.dtype, copy=False) for t in self.spec.tensors}

    def moved(self, held: Mapping[str, npt.NDArray[Any]], upload: Upload, *, spare: int = 0) -> MemoryBank:
        """This bank on another runtime, with the tensors that `on_host` gave; this one stays as it is."""
        other = copy.copy(self)
        kept = np.flatnonzero(self._ages)
        count = self.spec.slots + spare if self.spec.slots else 0
        other._ages, other._offered = np.zeros(count, np.int64), {}
        other._ages[: kept.size] = self._ages[kept]
        other._tensors = {}
        for name, array in held.items():
            ring = np.zeros((count, *array.shape[1:]), array.dtype)
            ring[: kept.size] = array[kept]
            other._tensors[name] = upload(ring)
        return other

    def _keeps_next(self) -> bool:
        """Whether the next push is one that is kept: the first, and each one `every` pushes after the last."""
        kept = self._ages[self._ages > 0]
        return kept.size == 0 or int(kept.min()) >= self.spec.every

    def _oldest(self) -> int:
        """The slot to write next: the first one that is free, else the one written longest ago."""
        return int(np.argmin(self._ages) if (self._ages == 0).any() else np.argmax(self._ages))
