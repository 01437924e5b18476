# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a read is cut into programs for the GPU kernels of `triton_kernel.py`; needs neither Triton nor torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from vss_ros.core.look import Look

LOG2_E = math.log2(math.e)  # the kernels count logits in units of log 2
NO_SINK = -1e30  # a logit that any other makes vanish

DTYPES = {"float16": 2, "bfloat16": 2, "float32": 4}  # bytes of those that the kernels take
MOST_KEY_CHANNELS = {"float16": 512, "bfloat16": 512, "float32": 128}  # with more, queries leave no room for keys
QUERY_ROWS = QUERY_COLUMNS = 8
MERGE_ROWS = 16

# Parameters of the kernels in order, and their types as Triton calls them; `any` is that of the query.
READ_POINTERS = {
    **dict.fromkeys(("query", "keys", "values"), "any"),
    **dict.fromkeys(("centres", "table"), "i32"),
    **{"sink": "fp32", "out": "any", "partial": "fp32", "partial_log": "fp32"},
}
READ_SCALARS = {
    **dict.fromkeys(("queries", "query_width", "height", "width", "heads", "slots", "parts"), "i32"),
    **{"zero_border": "i32", "moved": "i32", "scale": "fp32"},
}
MERGE_POINTERS = {"partial": "fp32", "partial_log": "fp32", "out": "any"}
MERGE_SCALARS = {"rows": "i32", "parts": "i32"}

FARTHEST = 1 << 29  # cells; positions of a window that reaches further do not fit 32 bits

_PROGRAMS_PER_PROCESSOR = 4  # enough to hide the latency of loads; more only cost the merge


@dataclass(frozen=True, slots=True)
class Tiles:
    """Sizes fixed when the kernels are compiled.

    Attributes:
        dk: key channels.
        dv: value channels.
        dv_block: value channels of a program, a power of two.
        key_rows: rows of a key tile.
        key_columns: columns of a key tile, a power of two.
        warps: of 32 threads.
        stages: key tiles in flight.
        registers: a thread may take; None = what ptxas thinks best, which may be too few.
    """

    dk: int
    dv: int
    dv_block: int
    key_rows: int
    key_columns: int
    warps: int
    stages: int
    registers: int | None = None

    @property
    def chunks(self) -> int:
        """Programs that share the value channels of a query."""
        return -(-self.dv // self.dv_block)

    def read_constants(self) -> dict[str, int]:
        """Compile-time arguments of `local_read`."""
        return {
            "DK": self.dk,
            "DV": self.dv,
            "DK_BLOCK": max(16, _power_of_two(self.dk)),
            "DV_BLOCK": self.dv_block,
            "QUERY_ROWS": QUERY_ROWS,
            "QUERY_COLUMNS": QUERY_COLUMNS,
            "KEY_ROWS": self.key_rows,
            "KEY_COLUMNS": self.key_columns,
        }

    def merge_options(self) -> dict[str, int]:
        """How Triton is to compile `merge_parts`."""
        return {"num_warps": 4}

    def read_options(self) -> dict[str, int]:
        """How Triton is to compile `local_read`."""
        bound = {} if self.registers is None else {"maxnreg": self.registers}
        return {"num_warps": self.warps, "num_stages": self.stages, **bound}

    def merge_constants(self) -> dict[str, int]:
        """Compile-time arguments of `merge_parts`."""
        return {"DV": self.dv, "DV_BLOCK": self.dv_block, "ROWS": MERGE_ROWS}


def tiles(dtype: str, dk: int, dv: int, capability: int = 90) -> Tiles:
    """The sizes for these channels: nothing spills, and a program takes less than 99 KB of shared memory.

    Not tuned on a GPU yet: chosen by the compiler's registers, shared memory and instructions for each product.

    Args:
        capability: of the GPU, 87 for 8.7. Before 9.0, value chunks that are wider than the 64 queries are split over
            the warps, which then meet several times for every key tile: worth it where the logits are expensive.
    """
    block = max(16, _power_of_two(dv))
    if dtype == "float32":  # three products of the tensor cores for one: it is here to be exact, not to be fast
        return Tiles(dk, dv, min(32, block), 1, 16 if dk > 64 else 32, warps=4, stages=1)
    if dk > 256:  # the queries alone take 64 KB and half of the registers
        return Tiles(dk, dv, min(block, 128), 1, 16, warps=8, stages=1)
    if dk > 64 and dv % 256 == 0:  # large chunks, because each computes the logits anew
        return Tiles(dk, dv, 256, 1, 32, warps=8, stages=2)
    block = min(block, 64 if dk <= 32 and capability < 90 else 128)
    registers = 200 if block <= 64 else None
    return Tiles(dk, dv, block, 2 if dk <= 32 else 1, 32, warps=4, stages=2, registers=registers)


@dataclass(frozen=True, slots=True)
class Grid:
    """What a read counts.

    Attributes:
        queries: all of them.
        query_width: columns of their grid, `QUERY_COLUMNS` for a list.
        height: of the picture in cells.
        width: of the picture in cells.
        heads: number of heads.
        slots: number of valid slots.
    """

    queries: int
    query_width: int
    height: int
    width: int
    heads: int
    slots: int

    @classmethod
    def of(cls, queries: tuple[int, ...], height: int, width: int, heads: int, slots: int) -> Grid:
        """`queries` are the `(rows, columns)` of a grid, which without centres is the picture, or `(N,)` of a list."""
        query_width = QUERY_COLUMNS if len(queries) == 1 else queries[1]
        return cls(math.prod(queries), query_width, height, width, heads, slots)

    def read_programs(self, tiles: Tiles, parts: int) -> tuple[int, int, int]:
        """Programs of `local_read` in x, y and z."""
        rows = -(-self.queries // self.query_width)
        blocks = -(-rows // QUERY_ROWS) * -(-self.query_width // QUERY_COLUMNS)
        return blocks, self.heads * tiles.chunks, parts

    def merge_programs(self, tiles: Tiles) -> tuple[int, int, int]:
        """Programs of `merge_parts` in x, y and z."""
        return -(-self.queries * self.heads // MERGE_ROWS), tiles.chunks, 1

    def parts(self, tiles: Tiles, processors: int) -> int:
        """Among how many programs to split the slots of a query, so that no processor of the GPU idles."""
        x, y, _ = self.read_programs(tiles, 1)
        wanted = min(self.slots, -(-_PROGRAMS_PER_PROCESSOR * processors // (x * y)))
        return -(-self.slots // -(-self.slots // wanted))  # no part with fewer slots than it could have

    def partial_floats(self, tiles: Tiles, parts: int) -> tuple[int, int]:
        """Sizes of the scratch arrays `partial` and `partial_log` in float32 numbers."""
        rows = 0 if parts == 1 else parts * self.queries * self.heads
        return rows * tiles.dv, rows


@dataclass(frozen=True, slots=True)
class Read:
    """Runtime arguments of the kernels; arrays are torch tensors or addresses on the device.

    Attributes:
        centres: `(queries, 2)` int32, or None.
        table: `(slots, 2)` int32, number and reach of each valid slot.
        sink: `(heads,)` float32, times `LOG2_E`; `NO_SINK` for none.
        partial: scratch of `Grid.partial_floats`, any array where `parts` is 1; `partial_log` the same.
        scale: of `Look`.
    """

    query: Any
    keys: Any
    values: Any
    centres: Any
    table: Any
    sink: Any
    out: Any
    partial: Any
    partial_log: Any
    grid: Grid
    parts: int
    zero_border: bool
    scale: float

    def read_arguments(self) -> Iterator[Any]:
        """Of `local_read`, in order."""
        grid, moved = self.grid, self.centres is not None
        yield from (self.query, self.keys, self.values, self.centres if moved else self.table, self.table)
        yield from (self.sink, self.out, self.partial, self.partial_log)
        yield from (grid.queries, grid.query_width, grid.height, grid.width, grid.heads, grid.slots, self.parts)
        yield from (int(self.zero_border), int(moved), self.scale * LOG2_E)

    def merge_arguments(self) -> Iterator[Any]:
        """Of `merge_parts`, in order."""
        yield from (self.partial, self.partial_log, self.out, self.grid.queries * self.grid.heads, self.parts)


def table_entries(look: Look, slots: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """What `Read.table` holds for these slots."""
    return tuple((slot, min(look.window_of(slot) // 2, FARTHEST)) for slot in slots)


def sink_entries(logits: Iterable[float]) -> tuple[float, ...]:
    """What `Read.sink` holds for the logits of the heads, -inf = none."""
    return tuple(max(logit * LOG2_E, NO_SINK) for logit in logits)


def _power_of_two(count: int) -> int:
    """The smallest one that is not below `count`."""
    return 1 << (count - 1).bit_length()
