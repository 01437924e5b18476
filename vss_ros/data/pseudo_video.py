# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Pseudo-video: clips made from one labelled picture by smooth random motion, light and blur.

Labels and motion are exact, because the same affine path moves picture and labels. A clip of one frame is an
ordinary augmentation (scale, crop, flip, rotation, light), so single-frame training uses it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from vss_ros.core.frame import UNLABELLED, FloatArray, UInt8Array

Rng = np.random.Generator
Matrix = npt.NDArray[np.float64]  # (3, 3), output px to source px


@dataclass(frozen=True, slots=True)
class Clip:
    """`images` `(T, H, W, 3)` uint8, `labels` `(T, H, W)` uint8, `motion` `(T, H, W, 2)` px to the previous frame."""

    images: UInt8Array
    labels: UInt8Array
    motion: FloatArray


@dataclass(frozen=True, slots=True)
class PseudoVideo:
    """How strongly a still is moved; rates are per frame.

    Attributes:
        size: `(height, width)` of the clip in px.
        scale: smallest and largest zoom of the source picture.
        pan_px: standard deviation of the pan.
        zoom_rate: standard deviation of the relative change of zoom.
        turn_deg: standard deviation of the rotation.
        light: strength of brightness, contrast and saturation changes, 0..1.
        wear: strength of what a camera does to each frame anew, 0..1: sensor noise, defocus, compression. Frames that
            are copies of one still otherwise tell a memory nothing that the current frame does not.
    """

    size: tuple[int, int]
    scale: tuple[float, float] = (0.7, 1.6)
    pan_px: float = 3.0
    zoom_rate: float = 0.01
    turn_deg: float = 0.3
    light: float = 0.3
    wear: float = 0.0

    def clip(
        self,
        image: UInt8Array,
        labels: UInt8Array,
        frames: int,
        rng: Rng,
        *,
        centre: tuple[int, int] | None = None,
        distance: int = 1,
    ) -> Clip:
        """A clip of `frames` frames from `image` `(H, W, 3)` RGB and `labels` `(H, W)`; `rng` decides everything.

        `centre` `(x, y)` in px of the still is where the path starts, or as near as keeps the view inside the still.
        Of the path's frames, each `distance`-th is in the clip.
        """
        path = self._path(image.shape[:2], (frames - 1) * distance + 1, rng, centre)[::distance]
        lights = self._lights(frames, rng)
        images, truths = [], []
        blur = float(rng.uniform(0.4, 1.2)) if rng.random() < 0.2 else 0.0
        for matrix, light in zip(path, lights, strict=True):
            moved, truth = self._warp(image, labels, matrix)
            lit = _relight(moved, *light, blur, rng)
            images.append(_wear(lit, self.wear, rng) if self.wear else lit)
            truths.append(truth)
        return Clip(np.stack(images), np.stack(truths), self._motion(path))

    def view(self, images: UInt8Array, labels: UInt8Array, rng: Rng) -> tuple[UInt8Array, UInt8Array]:
        """The same view of all frames of a real clip: it moves by itself, so only place, zoom and light are drawn.

        Args:
            images: `(T, H, W, 3)` RGB.
            labels: `(H, W)` of the last frame.
            rng: decides everything.

        Returns:
            `(T, height, width, 3)` images and the last one's labels.
        """
        (matrix,) = self._path(images.shape[1:3], 1, rng)
        truth = self._warp(images[-1], labels, matrix)[1]
        moved = [self._warp(image, labels, matrix)[0] for image in images]
        lit = [
            _relight(image, *light, 0.0, rng)
            for image, light in zip(moved, self._lights(len(images), rng), strict=True)
        ]
        return np.stack(lit), truth

    def _path(
        self, source: tuple[int, ...], frames: int, rng: Rng, wanted: tuple[int, int] | None = None
    ) -> list[Matrix]:
        height, width = self.size
        zoom = float(np.exp(rng.uniform(*np.log(self.scale))))
        turn = np.radians(rng.normal(0, 2.0))
        room = np.maximum(np.array([source[1], source[0]]) - np.array([width, height]) / zoom, 0.0)
        middle = np.array([source[1], source[0]]) / 2
        if wanted is None:
            centre = middle + room * (rng.random(2) - 0.5)
        else:
            centre = np.clip(np.array(wanted, float), middle - room / 2, middle + room / 2)
        velocity = rng.normal(0, self.pan_px, 2) * rng.random() / zoom
        zooming = rng.normal(0, self.zoom_rate)
        turning = np.radians(rng.normal(0, self.turn_deg)) * rng.random()
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        path = []
        for _ in range(frames):
            path.append(_matrix(self.size, centre, zoom, turn, mirror))
            shake = rng.normal(0, 0.15 * self.pan_px, 2) / zoom
            centre = centre + velocity + shake
            zoom *= float(np.exp(zooming))
            turn += turning
        return path if rng.random() < 0.5 else path[::-1]

    def _warp(self, image: UInt8Array, labels: UInt8Array, matrix: Matrix) -> tuple[UInt8Array, UInt8Array]:
        to_source, size = matrix[:2], self.size[::-1]
        smooth = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        moved = cv2.warpAffine(image, to_source, size, flags=smooth, borderMode=cv2.BORDER_REFLECT_101)
        truth = cv2.warpAffine(
            labels,
            to_source,
            size,
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=float(UNLABELLED),
        )
        return np.asarray(moved, np.uint8), np.asarray(truth, np.uint8)

    def _lights(self, frames: int, rng: Rng) -> list[tuple[float, float, float]]:
        """Gain, offset and saturation of each frame: one draw for the clip and a slow drift."""
        gain, offset, saturation = 1 + self.light * rng.uniform(-1, 1, 3)
        drift = 1 + 0.1 * self.light * rng.uniform(-1, 1)
        return [(gain * drift**t, 64.0 * (offset - 1), saturation) for t in range(frames)]

    def _motion(self, path: list[Matrix]) -> FloatArray:
        height, width = self.size
        y, x = np.mgrid[:height, :width]
        here = np.stack([x, y, np.ones_like(x)], axis=-1).astype(np.float64)
        motion = [np.zeros((height, width, 2), np.float32)]
        for before, now in pairwise(path):
            there = here @ (np.linalg.inv(before) @ now).T
            motion.append((there - here)[..., :2].astype(np.float32))
        return np.stack(motion)


def _matrix(size: tuple[int, int], centre: npt.NDArray[np.float64], zoom: float, turn: float, mirror: float) -> Matrix:
    """Output px to source px: about the middle of the output, mirrored, turned, scaled, set at `centre`."""
    height, width = size
    to_middle = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    c, s = np.cos(turn) / zoom, np.sin(turn) / zoom
    place = np.array([[c * mirror, -s, centre[0]], [s * mirror, c, centre[1]], [0, 0, 1]])
    return np.asarray(place @ to_middle, np.float64)


def _relight(image: UInt8Array, gain: float, offset: float, saturation: float, blur: float, rng: Rng) -> UInt8Array:
    lit = image.astype(np.float32)
    grey = lit.mean(axis=2, keepdims=True)
    lit = (grey + (lit - grey) * saturation) * gain + offset
    if blur:
        lit = np.asarray(cv2.GaussianBlur(lit, (0, 0), blur), np.float32)
    lit += rng.normal(0, 2.0, lit.shape[:2])[..., None]
    return np.clip(lit, 0, 255).astype(np.uint8)


def _wear(image: UInt8Array, strength: float, rng: Rng) -> UInt8Array:
    """One frame as a camera delivers it on a bad moment; half the frames stay as they are."""
    if rng.random() < 0.5:
        return image
    worn = image
    if rng.random() < 0.5:
        worn = np.asarray(cv2.GaussianBlur(worn, (0, 0), 0.3 + 1.2 * strength * rng.random()), np.uint8)
    deviation = 16.0 * strength * rng.random()
    noisy = worn.astype(np.float32) + rng.normal(0, deviation, worn.shape)
    worn = np.clip(noisy, 0, 255).astype(np.uint8)
    quality = int(95 - 65 * strength * rng.random())
    _, packed = cv2.imencode(".jpg", worn[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
