# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Which frames of a stream are keyframes, and how far everything has moved since the last one.

Source: Hu et al., "Efficient Semantic Segmentation by Altering Resolutions for Compressed Videos", CVPR 2023 (AR-Seg),
whose keyframes are an encoder's intra frames, every 12 frames; a camera needs more rules than that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vss_ros.core.frame import FloatArray, Frame, UInt8Array
from vss_ros.core.method import KeyframeMethod, TemporalMethod
from vss_ros.core.motion import MotionField, MotionSource, composed, in_cells
from vss_ros.core.prepare import Size


@dataclass(frozen=True, slots=True)
class KeyframeRules:
    """When a frame becomes a keyframe before the method's period is over; each value is described in `core/config.py`.

    Attributes:
        within_s: longest time from a keyframe to the next; 0 does not look.
        unmatched_max: largest share of a picture that was not in the one before, 0..1.
        codec: take the motion that frames bring along from their video, where they do.
    """

    within_s: float = 2.0
    unmatched_max: float = 0.4
    codec: bool = True


def reads_codec_motion(plan: TemporalMethod, rules: KeyframeRules) -> bool:
    """Whether a method with these rules takes the motion that frames bring along, which is work to find."""
    return isinstance(plan, KeyframeMethod) and rules.codec


@dataclass(frozen=True, slots=True)
class Moved:
    """What was decided of a frame.

    Attributes:
        motion: `(rows, columns, 2)` float32 cells to where things were in the keyframe; 0 in a keyframe.
        why: the reason that makes it a keyframe, or None.
    """

    motion: FloatArray
    why: str | None = None


@dataclass(frozen=True, slots=True)
class _Taken:
    """The newest frame that was segmented."""

    stamp_ns: int
    key_ns: int
    since: int  # frames since the keyframe, which has 0
    motion: FloatArray
    image: UInt8Array


class Keyframes:
    """The keyframes of one stream of pictures of one size.

    Args:
        grid: `(rows, columns)` of the motion that the method reads.
        source: finds the motion of frames that bring none; None makes those keyframes.
    """

    def __init__(self, grid: Size, source: MotionSource | None) -> None:
        self._grid, self._source = grid, source
        self._last: _Taken | None = None

    def clear(self) -> None:
        """The next frame is a keyframe."""
        self._last = None

    def decide(self, frame: Frame, image: UInt8Array, period: int, rules: KeyframeRules) -> Moved:
        """Whether a frame is to be a keyframe, and else its motion; changes nothing.

        Args:
            frame: as the camera gave it.
            image: the network's picture of it.
            period: frames from a keyframe to the next, at most.
            rules: for all else.
        """
        last = self._last
        if last is None:
            return self._key("first")
        if last.since + 1 >= period:
            return self._key("period")
        if rules.within_s > 0 and (frame.stamp_ns - last.key_ns) / 1e9 > rules.within_s:
            return self._key("time")
        found = self._field(frame, image, last, rules.codec)
        if found is None:
            return self._key("motion unknown")
        field, picture = found
        if field.codec_key:
            return self._key("codec")
        if field.unmatched > rules.unmatched_max:
            return self._key("unmatched")
        return Moved(composed(in_cells(field.motion, picture, self._grid), last.motion))

    def take(self, frame: Frame, image: UInt8Array, moved: Moved) -> None:
        """Remember what was decided of a frame, once it has been segmented."""
        last = self._last
        if last is None or moved.why is not None:
            self._last = _Taken(frame.stamp_ns, frame.stamp_ns, 0, moved.motion, image)
        else:
            self._last = _Taken(frame.stamp_ns, last.key_ns, last.since + 1, moved.motion, image)

    def _key(self, why: str) -> Moved:
        return Moved(np.zeros((*self._grid, 2), np.float32), why)

    def _field(self, frame: Frame, image: UInt8Array, last: _Taken, codec: bool) -> tuple[MotionField, Size] | None:
        """Motion to the newest frame that was segmented, and the size of the picture whose px it is in."""
        if codec and frame.motion is not None and frame.motion_since_ns in (None, last.stamp_ns):
            unknown = np.isnan(frame.motion).any(axis=2)
            # an intra picture has no motion at all, which a frame has no other word for
            return MotionField(frame.motion, float(unknown.mean()), codec_key=bool(unknown.all())), frame.size
        if self._source is None:
            return None
        return self._source(last.image, image), (int(image.shape[0]), int(image.shape[1]))
