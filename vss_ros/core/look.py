# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where a query looks in memory: the fixed part of one local-attention read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from vss_ros.core.errors import AttentionError


class Border(Enum):
    """What a window position outside the picture counts as."""

    ZERO = "zero"  # a key of zeros: logit 0, value 0, and a place in the softmax (LMANet, AR-Seg)
    MASK = "mask"  # it does not exist (STT, SSLTM)


@dataclass(frozen=True, slots=True)
class Look:
    """The window, border rule and scale of a read; hashable, so that an engine can be keyed by it.

    Attributes:
        window: odd side length (a diameter, not a radius) of the square window in cells; a tuple gives one
            window for each slot, in the order of the keys.
        border: what positions outside the picture count as.
        scale: factor on the logits; LMANet reads with 1.0, not 1/sqrt(dk).
    """

    window: int | tuple[int, ...] = 21
    border: Border = Border.ZERO
    scale: float = 1.0

    def __post_init__(self) -> None:
        for window in self.windows:
            if window < 1 or window % 2 == 0:
                raise AttentionError(
                    f"a window wants an odd side length of at least 1 cell, got {window}; try {window | 1}"
                )
        if not self.windows:
            raise AttentionError("a look wants at least one window, got an empty tuple")

    @property
    def windows(self) -> tuple[int, ...]:
        """The windows as a tuple: one for all slots, or one per slot."""
        return self.window if isinstance(self.window, tuple) else (self.window,)

    def window_of(self, slot: int) -> int:
        """Side length in cells for slot number `slot`."""
        return self.windows[0] if len(self.windows) == 1 else self.windows[slot]
