# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from vss_ros.core.errors import StageError
from vss_ros.core.memory import BankSpec, MemoryBank
from vss_ros.core.stage import TensorSpec


def bank(slots: int) -> MemoryBank:
    spec = BankSpec("past", slots, (TensorSpec("key", "float32", ("H/8", "W/8", 2)),))
    return MemoryBank(spec, 16, 24, np.empty)


def key(value: float) -> np.ndarray:
    return np.full((2, 3, 2), value, np.float32)


def test_a_new_bank_is_empty() -> None:
    view = bank(3).read()
    assert len(view) == 0 and not view.valid.any() and not view.age.any()


def test_fills_then_overwrites_the_oldest() -> None:
    memory = bank(3)
    for value in (1, 2, 3, 4):
        memory.push(key=key(value))
    view = memory.read()
    assert len(view) == 3
    assert view["key"][:, 0, 0, 0].tolist() == [4, 2, 3]
    assert view.age.tolist() == [1, 3, 2]


def test_a_partly_filled_bank_says_which_slots_hold() -> None:
    memory = bank(3)
    memory.push(key=key(1))
    view = memory.read()
    assert view.valid.tolist() == [True, False, False] and view.age.tolist() == [1, 0, 0]


def test_writing_copies() -> None:
    memory, source = bank(2), key(1)
    memory.push(key=source)
    source[:] = 9
    assert memory.read()["key"][0].max() == 1


def test_reading_does_not_copy() -> None:
    memory = bank(2)
    memory.push(key=key(1))
    assert memory.read()["key"] is memory.read()["key"]


def test_clear_forgets_and_keeps_the_allocation() -> None:
    memory = bank(2)
    memory.push(key=key(1))
    ring = memory.read()["key"]
    memory.clear()
    assert len(memory.read()) == 0 and memory.read()["key"] is ring
    memory.push(key=key(2))
    assert memory.read().age.tolist() == [1, 0]


def test_no_slots_remember_nothing() -> None:
    memory = bank(0)
    memory.push(key=key(1))
    assert len(memory.read()) == 0 and memory.bytes == 0


def test_counts_its_bytes() -> None:
    assert bank(3).bytes == 3 * 2 * 3 * 2 * 4


def test_refuses_other_names_and_shapes() -> None:
    with pytest.raises(StageError, match=r"wants \['key'\], got \['value'\]"):
        bank(2).push(value=key(1))
    with pytest.raises(StageError, match=r"wants key \(2, 3, 2\), got \(2, 2, 2\)"):
        bank(2).push(key=key(1)[:, :2])


def test_moves_what_is_remembered_and_nothing_else() -> None:
    memory = bank(3)
    memory.read()["key"][:] = np.inf  # as memory that was never written may be
    for value in (1, 2):
        memory.push(key=key(value))
    held = memory.on_host(lambda array: array)
    assert held["key"][:, 0, 0, 0].tolist() == [1, 2, 0] and held["key"].dtype == np.float32
    other = memory.moved(held, lambda array: array.astype(np.float16))
    other.push(key=key(3).astype(np.float16))
    view = other.read()
    assert view["key"].dtype == np.float16 and view["key"][:, 0, 0, 0].tolist() == [1, 2, 3]
    assert view.age.tolist() == [3, 2, 1] and memory.read().age.tolist() == [2, 1, 0] and len(memory.read()) == 2
    back = other.moved(other.on_host(lambda array: array), lambda array: array).read()
    assert back["key"].dtype == np.float32 and back["key"][:, 0, 0, 0].tolist() == [1, 2, 3]
