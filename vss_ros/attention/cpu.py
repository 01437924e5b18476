# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The C++ kernel behind ctypes, which releases the interpreter lock for the time of a call."""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

import numpy as np

from vss_ros.attention.check import Read
from vss_ros.core.errors import AttentionError
from vss_ros.core.look import Border

ISA_VARIABLE = "VSS_ATTENTION_ISA"  # name of an instruction set to use instead of the fastest one

_ABI = 2  # of kernel/local_attention.cpp
_FOLDER = Path(__file__).parent


class _VssRead(ctypes.Structure):
    """`struct VssRead` of kernel/read.h, field by field."""

    _fields_ = (
        ("query", ctypes.c_void_p),
        ("keys", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("windows", ctypes.c_void_p),
        ("valid", ctypes.c_void_p),
        ("centres", ctypes.c_void_p),
        ("sinks", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("rows", "columns", "h", "w", "heads", "slots", "dk", "dv")),
        ("query_strides", ctypes.c_int64 * 3),
        ("keys_strides", ctypes.c_int64 * 4),
        ("values_strides", ctypes.c_int64 * 4),
        ("scale", ctypes.c_float),
        ("border_zero", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("isa", ctypes.c_int32),
    )


def attend(read: Read) -> None:
    """Compute `read` into `read.out`.

    Raises:
        OSError: no library was built for this Python, or it does not load.
        AttentionError: the environment names an instruction set that is not there, or memory ran out.
    """
    slots, h, w, heads, dk = read.keys.shape
    windows = np.array([read.look.window_of(slot) for slot in range(slots)], np.int64)
    valid = np.ascontiguousarray(read.valid)
    query = read.query if read.query.ndim == 4 else read.query[np.newaxis]  # a list is a grid of one row
    call = _VssRead(
        query=query.ctypes.data,
        keys=read.keys.ctypes.data,
        values=read.values.ctypes.data,
        out=read.out.ctypes.data,
        windows=windows.ctypes.data,
        valid=valid.ctypes.data,
        centres=None if read.centres is None else read.centres.ctypes.data,
        sinks=read.sinks.ctypes.data,
        rows=query.shape[0],
        columns=query.shape[1],
        h=h,
        w=w,
        heads=heads,
        slots=slots,
        dk=dk,
        dv=read.values.shape[-1],
        query_strides=query.strides[:3],
        keys_strides=read.keys.strides[:4],
        values_strides=read.values.strides[:4],
        scale=read.look.scale,
        border_zero=read.look.border is Border.ZERO,
        threads=min(read.threads or physical_cores(), 1024),
        isa=_isa_index(os.environ.get(ISA_VARIABLE)),
    )
    if _library().vss_local_attention(ctypes.byref(call)) != 0:
        raise AttentionError("local attention wants scratch memory, the system gave none; close other programs")


def instruction_sets() -> tuple[str, ...]:
    """Those of the built library that this machine runs, fastest first.

    Raises:
        OSError: as `attend`.
    """
    return tuple(_runnable())


def instruction_set() -> str:
    """The one that the next call uses.

    Raises:
        OSError: as `attend`.
        AttentionError: the environment names one that is not there.
    """
    index = _isa_index(os.environ.get(ISA_VARIABLE))
    return next(name for name, at in _runnable().items() if at == index)


@functools.cache
def physical_cores() -> int:
    """Cores this process may run on, counting those with several hardware threads once; at least 1."""
    try:
        mine = os.sched_getaffinity(0)
        topology = "/sys/devices/system/cpu/cpu{}/topology/{}"
        names = ("physical_package_id", "core_id")
        return len({tuple(Path(topology.format(cpu, name)).read_text() for name in names) for cpu in mine})
    except (AttributeError, OSError):  # not Linux, or a container without sysfs
        return os.cpu_count() or 1


def _isa_index(wanted: str | None) -> int:
    runnable = _runnable()
    if not wanted:
        return next(iter(runnable.values()))
    if wanted not in runnable:
        raise AttentionError(
            f"{ISA_VARIABLE} wants one of {', '.join(runnable)} on this machine, got {wanted!r}; unset it"
        )
    return runnable[wanted]


@functools.cache
def _runnable() -> dict[str, int]:
    library, names, index = _library(), {}, 0
    while name := library.vss_attention_isa_name(index):
        if library.vss_attention_isa_runs_here(index):
            names[name.decode()] = index
        index += 1
    return names


@functools.cache
def _library() -> ctypes.CDLL:
    """The newest library beside this file that loads and speaks our version of the interface."""
    found = sorted(_FOLDER.glob("_kernel*.so"), key=lambda path: path.stat().st_mtime, reverse=True)
    reasons = []
    for path in found:
        try:
            library = ctypes.CDLL(str(path))
            if library.vss_attention_abi() != _ABI:
                raise OSError(f"{path.name} was built from another version")
        except (OSError, AttributeError) as error:
            reasons.append(str(error))
            continue
        library.vss_attention_isa_name.restype = ctypes.c_char_p
        return library
    raise OSError("; ".join(reasons) or f"no kernel was built in {_FOLDER}")
