# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Engines that are used only after they were seen to give the reference's labels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from vss_ros.core.card import ModelCard
from vss_ros.core.errors import BackendError
from vss_ros.core.method import Runtime
from vss_ros.core.prepare import Size
from vss_ros.runtimes.golden import Agreement
from vss_ros.runtimes.preparing import Observe, Prepared, Step

log = logging.getLogger(__name__)


class Engines(Runtime, Protocol):
    """What is wanted of `TensorRTRuntime`."""

    graphs: bool

    def prepare(self, size: Size, observe: Observe = ...) -> None: ...


def checked_engines(
    card: ModelCard,
    make: Callable[[str], Engines],
    precisions: Sequence[str],
    check: Callable[[Runtime, Size], Agreement] | None,
    size: Size,
    observe: Observe,
) -> Prepared:
    """Engines of the first precision that agrees with the reference within the card's limits.

    Where they do not agree by CUDA graphs, they are tried without.

    Args:
        card: the model.
        make: gives a runtime of a precision.
        precisions: to be tried in this order.
        check: compares a runtime with the reference; None = the model has no golden frames.
        size: `(height, width)` px of the picture.
        observe: called as each part of the work begins.

    Raises:
        BackendError: engines cannot be built, or none of them agrees; the message has the figures.
    """
    where, golden = f"{card.name} {size[1]}x{size[0]}", card.golden
    refused = []
    for precision in precisions:
        engines = make(precision)
        engines.prepare(size, observe)
        if check is None or golden is None:
            log.warning(
                "the engines of %s in %s are not checked: the model has no golden frames; "
                "vss export %s --golden writes them",
                where,
                precision,
                card.name,
            )
            return Prepared(engines, f"{precision}, not checked, the model has no golden frames")
        for way in _ways(engines, precision):
            observe(Step(f"check of {way} on golden frames", 1, 1))
            found = check(engines, size)
            if found.is_within(golden):
                return Prepared(engines, f"{way}, {found}")
            log.warning("the engines of %s in %s are refused: %s", where, way, found)
            refused.append(f"in {way} {found}")
    assert golden is not None, "without golden frames nothing is refused"
    limits = Agreement(golden.labels_differ_max, golden.confidence_differ_max)
    raise BackendError(
        f"engines of {where} that agree with the reference were wanted, where at most {limits}; got: "
        f"{'; '.join(refused)}; use runtime.backend onnx, and report the figures"
    )


def _ways(engines: Engines, precision: str) -> Iterator[str]:
    """How engines can run, each set up when it is taken; a driver may replay something else than was recorded."""
    if engines.graphs:
        yield precision
        engines.graphs = False
    yield f"{precision} without CUDA graphs"
