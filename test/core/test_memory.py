# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from vss_ros.core.errors import StageError
from vss_ros.core.memory import BankSpec, MemoryBank
from vss_ros.core.stage import TensorSpec


def bank(slots: int, *, spare: int = 0) -> MemoryBank:
    spec = BankSpec("past", slots, (TensorSpec("key", "float32", ("H/8", "W/8", 2)),))
    return MemoryBank(spec, 16, 24, np.empty, spare=spare)


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


def test_a_spare_slot_is_free_for_the_next_push_and_remembers_nothing() -> None:
    memory = bank(2, spare=1)
    seen = []
    for value in (1, 2, 3, 4):
        (slot,) = memory.next_slot().values()
        before = memory.ages
        slot[...] = value
        assert memory.ages == before
        memory.push(key=slot)
        view = memory.read()
        seen.append((view["key"][:, 0, 0, 0][view.valid].tolist(), memory.ages))
    assert seen == [([1], (1, 0, 0)), ([1, 2], (2, 1, 0)), ([2, 3], (0, 2, 1)), ([4, 3], (1, 0, 2))]
    assert memory.is_full and memory.bytes == 3 * 2 * 3 * 2 * 4


def test_a_full_ring_without_a_spare_slot_offers_none() -> None:
    memory = bank(1)
    assert set(memory.next_slot()) == {"key"} and not memory.is_full
    memory.push(key=key(1))
    assert memory.next_slot() == {} and memory.is_full
    assert bank(0, spare=1).next_slot() == {} and bank(0).is_full


def test_only_the_slot_that_was_offered_for_this_push_is_not_copied() -> None:
    memory = bank(2, spare=1)
    first = memory.next_slot()["key"]
    first[...] = 1
    memory.push(key=first)
    memory.push(key=first)
    assert memory.read()["key"][:2, 0, 0, 0].tolist() == [1, 1], "the second one was copied"


def test_ages_can_be_set_as_after_a_push() -> None:
    memory, other = bank(2, spare=1), bank(2, spare=1)
    for value in (1, 2, 3):
        memory.push(key=key(value))
    other.ages = memory.ages
    assert other.read().age.tolist() == memory.read().age.tolist() == [0, 2, 1]
    assert other.next_slot()["key"] is not other.read()["key"][0]
    other.push(key=key(9))
    assert other.ages == (1, 0, 2)


def test_moves_to_rings_with_and_without_a_spare_slot() -> None:
    memory = bank(2)
    for value in (1, 2, 3):
        memory.push(key=key(value))
    there = memory.moved(memory.on_host(lambda array: array), np.array, spare=1)
    there.push(key=key(4))
    view = there.read()
    held = dict(zip(view.age.tolist(), view["key"][:, 0, 0, 0].tolist(), strict=True))
    assert len(view) == 2 and (held[1], held[2]) == (4, 3)
    back = there.moved(there.on_host(lambda array: array), np.array).read()
    assert back.valid.all() and sorted(back["key"][:, 0, 0, 0].tolist()) == [3, 4] and len(back.age) == 2


@pytest.mark.parametrize("spare", [0, 1])
def test_keeps_the_first_push_and_each_third_one_after_it(spare: int) -> None:
    spec = BankSpec("past", 2, (TensorSpec("key", "float32", ("H/8", "W/8", 2)),), every=3)
    memory = MemoryBank(spec, 16, 24, np.empty, spare=spare)
    seen = []
    for value in range(1, 10):
        (slot,) = memory.next_slot().values() if spare else (key(value),)
        slot[...] = value  # also of a push that will not be kept
        memory.push(key=slot)
        view = memory.read()
        held = view["key"][:, 0, 0, 0][view.valid].tolist()
        seen.append(dict(zip(held, view.age[view.valid].tolist(), strict=True)))
    assert seen[:5] == [{1: 1}, {1: 2}, {1: 3}, {1: 4, 4: 1}, {1: 5, 4: 2}]
    assert seen[5:] == [{1: 6, 4: 3}, {4: 4, 7: 1}, {4: 5, 7: 2}, {4: 6, 7: 3}]
    memory.clear()
    memory.push(key=key(5))
    assert memory.read().newest("key").max() == 5, "the first push after a clear is kept"


def test_finds_slots_by_age() -> None:
    memory = bank(3)
    assert memory.read().slot_of(1) is None
    with pytest.raises(StageError, match="a slot about 2 pushes old was wanted, the memory is empty"):
        memory.read().slot_near(2)
    for value in (1, 2, 3, 4, 5):
        memory.push(key=key(value))
    view = memory.read()
    ages = {age: view.at(slot, "key").max() for age in range(6) if (slot := view.slot_of(age)) is not None}
    assert ages == {1: 5, 2: 4, 3: 3}
    assert [view.at(view.slot_near(age), "key").max() for age in (0, 2, 60)] == [5, 4, 3]
    assert [view.near(age, "key").max() for age in (0, 2, 60)] == [5, 4, 3]


def test_of_two_slots_that_are_equally_near_the_younger_is_taken() -> None:
    memory = bank(3)
    memory.ages = (5, 3, 1)
    assert memory.read().slot_near(4) == 1 and memory.read().slot_near(2) == 2
