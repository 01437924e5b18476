# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A memory that keeps one push in several, seen by recorded steps at addresses that never change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vss_ros.core.errors import StageError
from vss_ros.core.memory import Array, MemoryBank, MemoryView
from vss_ros.runtimes.tensorrt.device import Device


class SparseBank:
    """`core.memory.Bank` whose copies in and out stay outside of a recorded step.

    A graph reads and writes fixed addresses, so a step would have to be recorded for every slot that it may read or
    write. Such a bank goes round its ring `every` times as slowly as others, and with theirs its slots make many kinds
    of steps: 80 for SSLTM. Here a step reads copies, which `bring` makes before it, and what it pushes is kept by
    `put` after it: then steps differ by the other banks alone.

    Args:
        bank: the memory.
        device: of its arrays.

    Attributes:
        pushed: by the step, by name; empty if it did not push.
    """

    def __init__(self, bank: MemoryBank, device: Device) -> None:
        self._bank, self._device = bank, device
        self._copies: dict[tuple[int, str], Array] = {}  # `(1, ...)` by age and name
        self.pushed: Mapping[str, Array] = {}

    def bring(self) -> None:
        """Before a step, queue the copies of all that steps have asked for so far."""
        self.pushed = {}
        view = self._bank.read()
        if len(view):
            for (age, name), copy in self._copies.items():
                copy[0] = view.near(age, name)

    def put(self, tensors: Mapping[str, Array]) -> None:
        """After a step, keep what it has pushed."""
        if tensors:
            self._bank.push(**tensors)

    def read(self) -> Any:
        return _View(self, self._bank.read())

    def push(self, **tensors: Array) -> None:
        self.pushed = tensors

    def clear(self) -> None:
        self._bank.clear()

    def near(self, view: MemoryView, age: int, name: str) -> Array:
        """A copy of what was written about `age` pushes ago, at an address of its own for each age and name."""
        if (age, name) not in self._copies:
            found = view.near(age, name)
            copy = self._device.empty((1, *found.shape), self._device.dtype(found))
            copy[0] = found
            self._copies[age, name] = copy
        return self._copies[age, name][0]


class _View:
    """What of a `MemoryView` does not depend on slots."""

    def __init__(self, bank: SparseBank, view: MemoryView) -> None:
        self._bank, self._view = bank, view

    def __len__(self) -> int:
        return len(self._view)

    def near(self, age: int, name: str) -> Array:
        return self._bank.near(self._view, age, name)

    def __getattr__(self, name: str) -> Any:
        raise StageError(f"of a bank that keeps one push in several a plan wants `len` and `near`, got `{name}`")
