# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Draws flat pieces through a camera: colours, labels, and for each pixel where it was one frame ago.

A flat piece maps to the picture by a homography, so colour, depth (its inverse is linear in the picture), label and
motion (the product of two homographies) are all exact and cost one warp.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vss_ros.core.frame import FloatArray, UInt8Array
from vss_ros.data.synthetic_paint import Texture
from vss_ros.data.synthetic_world import LAYER_DECAL, Matrices, Piece, unit_corners

_NEAR_M = 0.3
_WARP = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_DEEPEST_LEVEL = 7
_SLICES = 6
_SLICE_PX = 16

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera: `matrix` (3, 3) in px, `turn` (3, 3) world to camera, `centre` (3,) in m."""

    size: tuple[int, int]
    matrix: Matrices
    turn: Matrices
    centre: npt.NDArray[np.float64]

    def views(self, poses: Matrices) -> Matrices:
        """`(N, 3, 3)` homographies from texture (u, v, 1) to the picture; the third row gives the depth in m."""
        moved = poses.copy()
        moved[:, :, 2] -= self.centre
        views: Matrices = (self.matrix @ self.turn) @ moved
        return views

    def far_view(self, pose: Matrices) -> Matrices:
        """The same for one piece at infinity, `pose` being directions."""
        view: Matrices = self.matrix @ self.turn @ pose
        return view


class Canvas:
    """One picture in the making.

    Attributes:
        rgb: `(H, W, 3)` uint8, or None when only the geometry is wanted.
        labels: `(H, W)` uint8.
        owner: `(H, W)` int32 position of the visible piece in the list that was drawn.
        nearness: `(H, W)` float32, 1 / depth in m.
    """

    def __init__(self, size: tuple[int, int], *, coloured: bool) -> None:
        self.size = size
        self.rgb: UInt8Array | None = np.zeros((*size, 3), np.uint8) if coloured else None
        self.labels = np.zeros(size, np.uint8)
        self.owner = np.zeros(size, np.int32)
        self.nearness = np.zeros(size, np.float32)
        self._xs = np.arange(size[1], dtype=np.float32)
        self._ys = np.arange(size[0], dtype=np.float32)

    def draw_all(self, pieces: Sequence[Piece], views: Matrices, haze: tuple[float, float]) -> None:
        """Draws pieces 1, 2, ... through their views, far ones first; haze is (visibility in m, its grey)."""
        boxes, depths = self._boxes(views)
        facing = np.linalg.det(views) > 0
        layers = np.array([piece.layer for piece in pieces])
        inverses = np.linalg.inv(views)
        order = np.lexsort((-depths, layers))
        for index in order:
            piece, found = pieces[index], boxes[index]
            if found is None or (piece.one_sided and not facing[index]):
                continue
            if piece.layer == LAYER_DECAL and self.rgb is None:
                continue
            for part in _slices(found, inverses[index]):
                self._draw(int(index) + 1, piece, inverses[index], part, haze)

    def draw_far(self, texture: Texture, view: Matrices) -> None:
        """Fills the whole picture with the piece at infinity; its owner is 0."""
        height, width = self.size
        inverse: Matrices = np.asarray(np.linalg.inv(view), np.float64)
        if self.rgb is not None:
            to_texture = _to_texels(inverse, texture.rgb.shape[:2])
            around = cv2.BORDER_REPLICATE
            sky = cv2.warpPerspective(texture.rgb, to_texture, (width, height), flags=_WARP, borderMode=around)
            self.rgb = np.asarray(sky, np.uint8)
            if texture.labels is not None:
                self.labels = _nearest(texture.labels, to_texture, (width, height))

    def _boxes(self, views: Matrices) -> tuple[list[Box | None], npt.NDArray[np.float64]]:
        """The pixels each piece can touch, None for none, and each piece's mean depth."""
        height, width = self.size
        corners = views @ unit_corners()
        depth = corners[:, 2]
        ahead = depth.min(1) > _NEAR_M
        safe = np.maximum(depth, _NEAR_M)
        x, y = corners[:, 0] / safe, corners[:, 1] / safe
        limits = np.stack([x.min(1), y.min(1), x.max(1), y.max(1)], 1)
        boxes: list[Box | None] = []
        for index in range(len(views)):
            if ahead[index]:
                left, top, right, bottom = limits[index]
            elif depth[index].max() <= _NEAR_M:
                boxes.append(None)
                continue
            else:
                left, top, right, bottom = _clipped_limits(corners[index])
            x0, y0 = max(0, int(np.ceil(left))), max(0, int(np.ceil(top)))
            x1, y1 = min(width, int(np.floor(right)) + 1), min(height, int(np.floor(bottom)) + 1)
            # A single px is not worth a warp; far parts of far things are many.
            wide, high = x1 - x0, y1 - y0
            boxes.append((x0, y0, x1, y1) if wide > 0 and high > 0 and wide * high > 1 else None)
        return boxes, depth.mean(1)

    def _draw(self, owner: int, piece: Piece, inverse: Matrices, at: Box, haze: tuple[float, float]) -> None:
        x0, y0, x1, y1 = at
        here = inverse.copy()
        here[:, 2] += inverse[:, 0] * x0 + inverse[:, 1] * y0
        rows, cols = np.s_[y0:y1], np.s_[x0:x1]
        nearness = self._linear(here[2], at)
        visible = nearness > self.nearness[rows, cols]
        texture, size = piece.texture, (x1 - x0, y1 - y0)
        levels = _levels(here, size, texture.rgb.shape[:2])
        if texture.cover is None:
            across, down = self._linear(here[0], at), self._linear(here[1], at)
            inside = (across >= 0) & (across <= nearness) & (down >= 0) & (down <= nearness)
            covered = visible & inside
        else:
            cover = texture.level("cover", *levels)
            covered = visible & (cv2.warpPerspective(cover, _to_texels(here, cover.shape), size, flags=_WARP) > 127)
        if self.rgb is not None:
            self._colour(piece, here, (rows, cols), size, levels, haze, visible, covered)
        if piece.layer == LAYER_DECAL:
            return
        np.copyto(self.nearness[rows, cols], nearness, where=covered)
        np.copyto(self.owner[rows, cols], owner, where=covered)
        if texture.labels is None:
            np.copyto(self.labels[rows, cols], piece.label, where=covered)
        elif self.rgb is not None:
            labels = _nearest(texture.labels, _to_texels(here, texture.labels.shape), size)
            np.copyto(self.labels[rows, cols], labels, where=covered)

    def _colour(
        self,
        piece: Piece,
        here: Matrices,
        at: tuple[slice, slice],
        size: tuple[int, int],
        levels: tuple[int, int],
        haze: tuple[float, float],
        visible: npt.NDArray[np.bool_],
        covered: npt.NDArray[np.bool_],
    ) -> None:
        if self.rgb is None or not (covered.any() if piece.texture.alpha is None else visible.any()):
            return
        solid = piece.texture.alpha is None
        paint = piece.texture.level("rgb" if solid else "rgba", *levels)
        border = cv2.BORDER_REPLICATE if solid else cv2.BORDER_CONSTANT
        warped = cv2.warpPerspective(paint, _to_texels(here, paint.shape[:2]), size, flags=_WARP, borderMode=border)
        middle = here[2] @ (size[0] / 2, size[1] / 2, 1.0)
        clear = float(np.exp(-1.0 / max(middle, 1e-4) / haze[0]))
        colour = cv2.convertScaleAbs(
            warped if solid else warped[:, :, :3], alpha=piece.gain * clear, beta=(1 - clear) * haze[1]
        )
        target = self.rgb[at]
        if solid:
            cv2.copyTo(colour, covered.view(np.uint8), target)
            return
        weight = warped[:, :, 3].astype(np.float32)
        weight *= visible.astype(np.float32) / np.float32(255)
        target[:] = cv2.blendLinear(colour, np.ascontiguousarray(target), weight, 1 - weight)

    def _linear(self, row: npt.NDArray[np.float64], at: Box) -> FloatArray:
        """`row . (x, y, 1)` over the box, x and y counted from its corner."""
        x0, y0, x1, y1 = at
        down = self._ys[: y1 - y0] * np.float32(row[1]) + np.float32(row[2])
        return np.asarray((self._xs[: x1 - x0] * np.float32(row[0]))[None, :] + down[:, None], np.float32)


def motion_to(owner: npt.NDArray[np.int32], now: Matrices, before: Matrices, focal_px: float) -> FloatArray:
    """`(H, W, 2)` float32 px from each pixel to where the same point of the same piece was in the other picture.

    Args:
        owner: `(H, W)` which of the N pieces each pixel shows.
        now: `(N, 3, 3)` texture to this picture.
        before: `(N, 3, 3)` texture to the other picture.
        focal_px: scale for float32; any length near the picture's size will do.
    """
    height, width = owner.shape
    scale = np.diag([focal_px, focal_px, 1.0])
    scale[:2, 2] = (width - 1) / 2, (height - 1) / 2
    maps = np.linalg.inv(scale) @ before @ np.linalg.inv(now) @ scale
    table = maps.reshape(-1, 9).astype(np.float32).T.copy()
    x = ((np.arange(width) - scale[0, 2]) / focal_px).astype(np.float32)[None, :]
    y = ((np.arange(height) - scale[1, 2]) / focal_px).astype(np.float32)[:, None]
    rows = [table[k].take(owner) * x + table[k + 1].take(owner) * y + table[k + 2].take(owner) for k in (0, 3, 6)]
    motion = np.empty((height, width, 2), np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        for axis, start in ((0, x), (1, y)):
            motion[:, :, axis] = np.where(rows[2] > 1e-6, (rows[axis] / rows[2] - start) * np.float32(focal_px), np.nan)
    return motion


def _clipped_limits(corners: Matrices) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a piece that reaches behind the camera; corners `(3, 4)` homogeneous."""
    x, y = [], []
    for i in range(4):
        here, there = corners[:, i], corners[:, (i + 1) % 4]
        if here[2] > _NEAR_M:
            x.append(here[0] / here[2])
            y.append(here[1] / here[2])
        if (here[2] > _NEAR_M) != (there[2] > _NEAR_M):
            cut = here + (there - here) * (_NEAR_M - here[2]) / (there[2] - here[2])
            x.append(cut[0] / _NEAR_M)
            y.append(cut[1] / _NEAR_M)
    return min(x), min(y), max(x), max(y)


def _slices(at: Box, inverse: Matrices) -> list[Box]:
    """Cuts a box across the direction of depth where distances differ much: each slice takes its own texture level."""
    x0, y0, x1, y1 = at
    a, b, c = (float(v) for v in inverse[2])
    by_row = abs(b) * (y1 - y0) >= abs(a) * (x1 - x0)
    first, last = (y0, y1) if by_row else (x0, x1)
    if last - first < 2 * _SLICE_PX:
        return [at]
    slope, rest = (b, a * (x0 + x1) / 2 + c) if by_row else (a, b * (y0 + y1) / 2 + c)
    ends = sorted((slope * first + rest, slope * last + rest))
    high, low = ends[1], max(ends[0], ends[1] / 64)
    count = min(_SLICES, int(np.log2(max(high / low, 1.0)) + 0.7)) if high > 0 else 1
    if count < 2:
        return [at]
    cuts = {first, last}
    for i in range(1, count):
        cut = round((low * (high / low) ** (i / count) - rest) / slope)
        if first + 4 < cut < last - 4:
            cuts.add(cut)
    edges = sorted(cuts)
    pairs = itertools.pairwise(edges)
    return [(x0, i, x1, j) if by_row else (i, y0, j, y1) for i, j in pairs]


def _levels(here: Matrices, size: tuple[int, int], texels: tuple[int, ...]) -> tuple[int, int]:
    """How often to halve the texture across and down, so that one texel is about one pixel in the box's middle."""
    x, y = size[0] / 2, size[1] / 2
    (a, b, c), (d, e, f), (g, h, i) = here.tolist()
    depth_inverse = max(g * x + h * y + i, 1e-5)
    u, v = (a * x + b * y + c) / depth_inverse, (d * x + e * y + f) / depth_inverse
    across = (abs(a - u * g) + abs(b - u * h)) / depth_inverse * texels[1]
    down = (abs(d - v * g) + abs(e - v * h)) / depth_inverse * texels[0]
    return _halvings(across), _halvings(down)


def _halvings(texels_per_px: float) -> int:
    return int(min(max(np.log2(max(texels_per_px, 1e-3)) + 0.3, 0), _DEEPEST_LEVEL))


def _to_texels(inverse: Matrices, texels: tuple[int, ...]) -> Matrices:
    """Picture to texel coordinates; texel centres are whole numbers."""
    matrix: Matrices = inverse.copy()
    matrix[0] = inverse[0] * texels[1] - inverse[2] * 0.5
    matrix[1] = inverse[1] * texels[0] - inverse[2] * 0.5
    return matrix


def _nearest(labels: UInt8Array, to_texels: Matrices, size: tuple[int, int]) -> UInt8Array:
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(labels, to_texels, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)
