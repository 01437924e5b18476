# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""From the camera's size to the model's and back: geometry and index arithmetic, numpy only."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vss_ros.core.errors import FrameError
from vss_ros.core.frame import UInt8Array

Size = tuple[int, int]  # (height, width) in px
Number = TypeVar("Number", bound=np.generic)
Resize = Callable[[UInt8Array, Size], UInt8Array]  # (H, W, 3) uint8 to another size

SMALLEST = 16  # px; two cells of the coarsest feature map


def like(camera: Size, model: Size, stride: int) -> Size:
    """The size with the camera's aspect ratio and about the model's number of pixels, in multiples of `stride`.

    A wide camera is then neither squeezed nor cropped, and costs as much as the pictures the model was trained on.

    Raises:
        FrameError: the camera's picture is smaller than 16 px on a side.
    """
    if min(camera) < SMALLEST:
        raise FrameError(
            f"a picture of at least {SMALLEST}x{SMALLEST} px was wanted, got {camera[1]}x{camera[0]}; check the camera"
        )
    scale = (model[0] * model[1] / (camera[0] * camera[1])) ** 0.5
    height, width = (max(round(side * scale / stride), SMALLEST // stride) * stride for side in camera)
    return height, width


def needs_resizing(image: UInt8Array, size: Size) -> UInt8Array:
    """The resizer of a segmenter that was given none: passes pictures of the right size, refuses all others.

    Raises:
        FrameError: the picture has another size.
    """
    if image.shape[:2] != size:
        raise FrameError(
            f"a picture of {size[1]}x{size[0]} px was wanted, got {image.shape[1]}x{image.shape[0]}; "
            "give the segmenter a resizer"
        )
    return image


def nearest(labels: npt.NDArray[Number], size: Size) -> npt.NDArray[Number]:
    """`(H, W)` labels, or `(H, W, ...)`, at another size; each pixel takes what lies at its centre, none is mixed."""
    if labels.shape[:2] == size:
        return labels
    rows, columns = _centres(labels.shape[0], size[0]), _centres(labels.shape[1], size[1])
    return np.take(np.take(labels, rows, axis=0), columns, axis=1)


@lru_cache(maxsize=64)
def _centres(have: int, want: int) -> npt.NDArray[np.intp]:
    return np.minimum(((np.arange(want) + 0.5) * have / want).astype(np.intp), have - 1)
