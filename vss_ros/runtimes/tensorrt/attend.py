# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Local attention between two engines: the shipped PTX on raw addresses, or Triton where no file fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.attention.check import check_centres, check_look, check_shapes, checked_logits, checked_valid
from vss_ros.attention.ptx_loader import PtxAttention
from vss_ros.attention.triton_plan import Grid, Read, sink_entries, table_entries
from vss_ros.core.errors import AttentionError
from vss_ros.core.look import Border, Look
from vss_ros.core.memory import Array
from vss_ros.runtimes.tensorrt.device import Device

LoadKernel = Callable[[str, int, int], Any]  # (dtype, key channels, value channels) -> a PtxAttention


class DeviceAttention:
    """`core.method.Attend` on a device's arrays; what it gives is overwritten by its next call of the same size.

    Args:
        device: of the arrays.
        load: makes the kernel of a dtype and numbers of channels.
    """

    def __init__(self, device: Device, load: LoadKernel = PtxAttention) -> None:
        self._device, self._load = device, load
        self._kernels: dict[tuple[str, int, int], Any] = {}
        self._kept: dict[tuple[Any, ...], Array] = {}  # tables, sinks and results: making them costs more than a read

    def __call__(
        self,
        query: Array,
        keys: Array,
        values: Array,
        look: Look,
        *,
        valid: npt.NDArray[np.bool_] | None = None,
        centres: Array | None = None,
        sink: Array | float | None = None,
    ) -> Array:
        """One read, queued on the device's stream.

        Raises:
            AttentionError: shapes, dtypes or options do not fit, or there is no kernel for them.
        """
        dtype = self._checked_dtype(query, keys, values, look, centres)
        kernel = self._kernel(dtype, keys.shape[-1], values.shape[-1], query)
        if kernel is None:
            from vss_ros.attention.triton_launch import attend_triton

            self._device.stream()
            return attend_triton(query, keys, values, look, valid=valid, centres=centres, sink=sink)
        slots, height, width, heads = (int(length) for length in keys.shape[:4])
        numbers = np.flatnonzero(checked_valid(valid, slots)).tolist()
        grid = Grid.of(tuple(query.shape[:-2]), height, width, heads, len(numbers))
        out = self._buffer("out", (*query.shape[:-1], values.shape[-1]), dtype)
        if grid.queries == 0:
            return out
        read = self._read(query, keys, values, look, centres, _logits(sink, heads), numbers, out, grid, kernel)
        kernel(read, self._device.stream())
        return out

    def _read(
        self,
        query: Array,
        keys: Array,
        values: Array,
        look: Look,
        centres: Array | None,
        logits: tuple[float, ...],
        numbers: list[int],
        out: Array,
        grid: Grid,
        kernel: Any,
    ) -> Read:
        at = self._device.address
        partial, partial_log = (
            at(self._buffer(name, (size // 4,), "float32")) if size else 0
            for name, size in zip(("partial", "partial_log"), kernel.scratch_bytes(grid), strict=True)
        )
        return Read(
            query=at(query),
            keys=at(keys),
            values=at(values),
            centres=None if centres is None else at(centres),
            table=at(self._constant(np.array(table_entries(look, numbers), np.int32))),
            sink=at(self._constant(np.array(logits, np.float32))),
            out=at(out),
            partial=partial,
            partial_log=partial_log,
            grid=grid,
            parts=kernel.parts(grid),
            zero_border=look.border is Border.ZERO,
            scale=look.scale,
        )

    def _checked_dtype(self, query: Array, keys: Array, values: Array, look: Look, centres: Array | None) -> str:
        dtypes = [self._device.dtype(x) for x in (query, keys, values)]
        if len(set(dtypes)) > 1:
            raise AttentionError(f"query, keys and values want one dtype, got {', '.join(dtypes)}; see the stages")
        check_shapes(tuple(query.shape), tuple(keys.shape), tuple(values.shape), moved=centres is not None)
        if centres is not None:
            check_centres(tuple(centres.shape), self._device.dtype(centres), tuple(query.shape[:-2]), ("int32",))
        check_look(look, keys.shape[0])
        return dtypes[0]

    def _kernel(self, dtype: str, dk: int, dv: int, query: Array) -> Any:
        """The PTX kernel, or None where Triton takes the arrays and no file fits."""
        key = dtype, int(dk), int(dv)
        if key not in self._kernels:
            try:
                self._kernels[key] = self._load(*key)
            except AttentionError as error:
                if not type(query).__module__.startswith("torch"):
                    raise
                from vss_ros.attention.triton_launch import why_not

                refused = why_not("cuda")
                if refused:
                    raise AttentionError(f"{error}; {refused}, which would compile one") from error
                self._kernels[key] = None
        return self._kernels[key]

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: str) -> Array:
        key = name, tuple(shape), dtype
        if key not in self._kept:
            self._kept[key] = self._device.empty(tuple(shape), dtype)
        return self._kept[key]

    def _constant(self, array: npt.NDArray[Any]) -> Array:
        key = array.dtype.name, array.shape, array.tobytes()
        if key not in self._kept:
            self._kept[key] = self._device.upload(array)
        return self._kept[key]


def _logits(sink: Any, heads: int) -> tuple[float, ...]:
    """The sink of each head in the kernel's units."""
    if sink is not None and not isinstance(sink, int | float | np.generic | np.ndarray):
        raise AttentionError(
            f"with engines a sink wants a number or ({heads},) of numpy, got {sink!r}; read it from the model's options"
        )
    return sink_entries(checked_logits(sink, heads))
