# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the installed TensorRT can do, asked of its bindings and not of its version; and what it says of errors."""

from __future__ import annotations

import functools
import importlib
from collections import deque
from collections.abc import Iterable
from typing import Any

from vss_ros.core.errors import BackendError

_NAMES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")  # the last is what TensorRT-RTX's wheel is called
_LINES = 20  # of errors that are kept: the first ones name the cause


@functools.cache
def bindings() -> Any:
    """The module of TensorRT's Python bindings, or of TensorRT-RTX's, which has the same classes.

    Raises:
        BackendError: none is installed.
    """
    said = []
    for name in _NAMES:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: a library that the bindings load is missing
            said.append(f"{name}: {error}")
    raise BackendError(
        f"backend 'tensorrt' wants TensorRT 8.5 or newer, importing it gave: {'; '.join(said)}; install it "
        "(JetPack brings it, elsewhere pip install tensorrt), or use runtime.backend onnx"
    )


def library(trt: Any) -> str:
    """Name and full version, for people and for the engines' keys."""
    return f"{trt.__name__} {trt.__version__}"


def library_of_major(trt: Any) -> str:
    """Name and major version: version-compatible engines are found by these.

    Raises:
        BackendError: this library makes no such engines.
    """
    remedy = "set runtime.version_compatible to false"
    if trt.__name__.startswith("tensorrt_rtx"):  # it lists the flag all the same
        raise BackendError(
            "engines that later versions load were wanted, those of TensorRT-RTX are for the release that built them "
            f"alone, got {library(trt)}; {remedy}"
        )
    if not hasattr(trt.BuilderFlag, "VERSION_COMPATIBLE"):
        raise BackendError(f"engines that later versions load want TensorRT 8.6 or newer, got {library(trt)}; {remedy}")
    return f"{trt.__name__} {trt.__version__.partition('.')[0]}"


def is_strongly_typed(trt: Any) -> bool:
    """Whether a network's precision is that of its numbers (from 10 on) and not a matter of flags (before)."""
    return hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")


def network_flags(trt: Any) -> int:
    """Flags of `create_network`: types as they are written, or before 10 the batch as an axis like others."""
    flags = trt.NetworkDefinitionCreationFlag
    return 1 << int(flags.STRONGLY_TYPED if is_strongly_typed(trt) else flags.EXPLICIT_BATCH)


@functools.cache
def logger(trt: Any) -> Any:
    """The one logger of this process: TensorRT 8 takes no second one.

    What it adds to TensorRT's `ILogger`: `errors`, the last lines of errors, and `drain()`, which also forgets them.
    """

    class ErrorLog(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=_LINES)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)

        def drain(self) -> list[str]:
            lines = list(self.errors)
            self.errors.clear()
            return lines

    return ErrorLog()


def made(trt: Any, name: str, *arguments: Any) -> Any:
    """An object of one of TensorRT's classes.

    Raises:
        BackendError: TensorRT makes none, as where the driver is older than its CUDA.
    """
    try:
        return getattr(trt, name)(*arguments)
    except TypeError as error:  # what the bindings make of a null pointer
        raise refusal(trt, f"made no {name}", "see whether the GPU and its driver work", [str(error)]) from error


def refusal(trt: Any, what: str, remedy: str, more: Iterable[str] = ()) -> BackendError:
    """An error with all that TensorRT said of it.

    Args:
        trt: the bindings.
        what: what TensorRT would not do.
        remedy: what the user can do.
        more: lines from elsewhere, such as the parser's.
    """
    lines = dict.fromkeys(" ".join(line.split()) for line in [*more, *logger(trt).drain()])
    return BackendError(f"{library(trt)} {what}: {'; '.join(lines) or 'it gave no reason'}; {remedy}")
