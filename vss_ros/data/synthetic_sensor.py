# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The camera of the synthetic drive: how it rides along, and what its sensor does to the picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vss_ros.core.frame import FloatArray, UInt8Array
from vss_ros.data.synthetic_ground import Street
from vss_ros.data.synthetic_paint import Rng
from vss_ros.data.synthetic_render import Camera
from vss_ros.data.synthetic_world import Matrices

_NOISE_SIDE = 640
_STEP_S = 2.5


class Ride:
    """Where the camera is: steady speed with slow drift, a wandering heading, and the bounce of a car.

    Args:
        rng: decides lens, height, speed and movements.
        street: to keep the lane.
        size: `(height, width)` px.
    """

    def __init__(self, rng: Rng, street: Street, size: tuple[int, int]) -> None:
        self._size = size
        self.focal_px = rng.uniform(0.85, 1.15) * max(size[1], size[0] * 4 / 3)
        self.speed = rng.uniform(4.5, 11.0)
        self._lane_m = street.side * street.half_road_m * rng.uniform(0.36, 0.46)
        self._height_m = rng.uniform(1.2, 1.6)
        self._horizon = rng.uniform(0.42, 0.52)
        # Amplitude, frequency in Hz and phase of: forward m, sideways m, up m, heading, tilt, roll (rad).
        swerve, shake = np.radians(rng.uniform(0.8, 4)), rng.uniform(0.001, 0.003)
        slow = [(1.5, 0.05), (0.25, 0.11), (0.012, 1.3), (swerve, 0.07), (0.004, 0.2), (0.006, 0.3)]
        fast = [(0.0, 1.0), (0.01, 1.9), (0.01, 2.7), (0.0015, 1.7), (shake, 2.3), (0.002, 1.6)]
        self._waves = [
            [(size_, hertz * rng.uniform(0.8, 1.2), rng.uniform(0, 2 * np.pi)) for size_, hertz in pair]
            for pair in zip(slow, fast, strict=True)
        ]

    def camera(self, time_s: float) -> Camera:
        """The camera at that time."""
        forward, sideways, up, heading, tilt, roll = (
            sum(size * np.sin(2 * np.pi * hertz * time_s + phase) for size, hertz, phase in pair)
            for pair in self._waves
        )
        height, width = self._size
        matrix = np.array([[self.focal_px, 0, (width - 1) / 2], [0, self.focal_px, (height - 1) / 2], [0, 0, 1]])
        level = np.arctan((0.5 - self._horizon) * height / self.focal_px)
        turn = _about(2, roll) @ _about(0, level + tilt) @ _about(1, heading)
        centre = np.array([self._lane_m + sideways, -self._height_m - up, self.speed * time_s + forward])
        return Camera(self._size, matrix, turn, centre)


def _about(axis: int, angle: float) -> Matrices:
    turn = np.eye(3)
    i, j = [k for k in range(3) if k != axis]
    turn[i, i] = turn[j, j] = np.cos(angle)
    turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
    return turn


@dataclass(frozen=True, slots=True)
class _Look:
    gain: float
    gamma: float
    tint: tuple[float, float, float]
    noise: float
    shutter: float
    blur_px: float
    drift: float
    step: float
    vignette: float


class Sensor:
    """Exposure, colour, motion blur, lens blur, noise; the same seed and time give the same picture."""

    def __init__(self, rng: Rng, seed: int, size: tuple[int, int]) -> None:
        self._seed = seed
        warmth = rng.normal(0, 0.05)
        self._look = _Look(
            gain=float(rng.choice([rng.uniform(0.38, 0.7), rng.uniform(0.8, 1.25), rng.uniform(0.9, 1.1)])),
            gamma=rng.uniform(0.8, 1.25),
            tint=(1 + warmth, 1.0, 1 - warmth + rng.normal(0, 0.02)),
            noise=rng.uniform(1.0, 6.0),
            shutter=float(rng.choice([0.0, rng.uniform(0.15, 0.6)])),
            blur_px=rng.uniform(0.45, 0.9),
            drift=rng.uniform(0.02, 0.15),
            step=rng.uniform(0.0, 0.2),
            vignette=rng.uniform(0.0, 0.35),
        )
        self._phase = rng.uniform(0, 6.28)
        self._grain = rng.normal(0, self._look.noise, (_NOISE_SIDE, _NOISE_SIDE, 3)).astype(np.int8)
        height, width = size
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        lens = 1 - self._look.vignette * (x * x + y * y) / 2
        self._lens = np.repeat((lens * 255).astype(np.uint8)[:, :, None], 3, 2)

    @property
    def smears(self) -> bool:
        """Whether motion shows as blur, and `develop` needs it."""
        return self._look.shutter > 0

    def exposure(self, time_s: float) -> float:
        """Brightness factor: slow drift of the light, and the steps of automatic exposure with a short ramp."""
        look, (slot, within) = self._look, divmod(time_s, _STEP_S)
        now, before = (np.random.default_rng([self._seed, 21, int(slot) + k]).normal(0, look.step) for k in (1, 0))
        ramp = min(within / 0.2, 1.0)
        slow = look.drift * np.sin(0.7 * time_s + self._phase)
        return float(look.gain * np.exp(slow + before * (1 - ramp) + now * ramp))

    def develop(self, rgb: UInt8Array, motion: FloatArray | None, index: int, time_s: float) -> UInt8Array:
        """What the sensor makes of the clean picture `(H, W, 3)`; motion `(H, W, 2)` px per frame smears it."""
        look = self._look
        if motion is not None and look.shutter > 0:
            rgb = _smear(rgb, np.nan_to_num(motion), look.shutter)
        soft = cv2.multiply(cv2.GaussianBlur(rgb, (0, 0), look.blur_px), self._lens, scale=1 / 255)
        tones = np.linspace(0, 1, 256)[:, None] ** look.gamma * np.array(look.tint) * self.exposure(time_s)
        # A soft shoulder instead of a hard clip, as cameras do.
        tones = np.where(tones > 0.8, 0.8 + 0.25 * np.tanh((tones - 0.8) / 0.25), tones)
        developed = cv2.LUT(soft, np.clip(tones * 255, 0, 255).astype(np.uint8)[None])
        return self._add_grain(np.asarray(developed, np.uint8), np.random.default_rng([self._seed, 22, index]))

    def _add_grain(self, rgb: UInt8Array, rng: Rng) -> UInt8Array:
        """A stored field of noise, each time from another place and mirrored otherwise."""
        height, width = rgb.shape[:2]
        top, left = (int(rng.integers(_NOISE_SIDE)) for _ in range(2))
        rows, cols = (np.arange(height) + top) % _NOISE_SIDE, (np.arange(width) + left) % _NOISE_SIDE
        grain = self._grain[rows][:, cols]
        if rng.random() < 0.5:
            grain = grain[:, ::-1]
        return np.asarray(cv2.add(rgb, np.ascontiguousarray(grain), dtype=cv2.CV_8U), np.uint8)


def _smear(rgb: UInt8Array, motion: FloatArray, shutter: float) -> UInt8Array:
    """Mean of the picture at three moments of the exposure, half of it before and half after the stamp."""
    height, width = motion.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    total = rgb
    for i, part in enumerate((-0.5, 0.5)):
        scale = np.float32(part * shutter)
        from_x, from_y = x + motion[:, :, 0] * scale, y + motion[:, :, 1] * scale
        moved = cv2.remap(rgb, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        total = np.asarray(cv2.addWeighted(total, (i + 1) / (i + 2), moved, 1 / (i + 2), 0), np.uint8)
    return total
