# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures from the packets of a video topic: H.264 or H.265, in any of the three messages that ROS has for them.

`sensor_msgs/CompressedImage` with the format h264, h265 or hevc, `ffmpeg_image_transport_msgs/FFMPEGPacket` and
`foxglove_msgs/CompressedVideo`; one message is one packet. Unlike a picture, a packet can only be decoded after those
before it, so every one goes through the decoder, also where its picture is not wanted.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from vss_ros.core.errors import FrameError
from vss_ros.core.frame import FloatArray, Frame
from vss_ros.core.motion import CELL, composed, filled
from vss_ros.data.messages import stamp_to_ns
from vss_ros.data.motion_codec import EXPORT, CodecMotion

# Codecs are named by the codec (h264), by an encoder (libx264, hevc_nvenc), and with more behind (hevc;yuv420p;rgb8).
_CODECS = {"264": "h264", "265": "hevc", "hevc": "hevc"}
_NAMED = re.compile("|".join(_CODECS))
_STEPS = 8  # distances between packets that the usual one is taken from
_LONGER = 1.75  # times the usual distance, above which a packet is missing; stamps of arrival are not even


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """What a packet has become.

    Attributes:
        stamp_ns: of the message that brought it.
        frame_id: likewise.
        picture: the decoder's `av.VideoFrame`; made an RGB array only when it is asked for.
        motion: to an earlier picture, as `Frame.motion`.
        since_ns: stamp of that picture.
    """

    stamp_ns: int
    frame_id: str
    picture: Any
    motion: FloatArray | None = None
    since_ns: int | None = None

    def frame(self, stream: str) -> Frame:
        """As a frame of that stream."""
        image = np.asarray(self.picture.to_ndarray(format="rgb24"), np.uint8)
        return Frame(self.stamp_ns, image, stream, self.frame_id, self.motion, motion_since_ns=self.since_ns)

    def instead_of(self, skipped: DecodedPicture) -> DecodedPicture:
        """This picture with its motion to where that of the skipped one leads, which came just before it."""
        now, before = self.motion, skipped.motion
        if now is None or before is None or now.shape != before.shape or self.since_ns != skipped.stamp_ns:
            return replace(self, motion=None, since_ns=None)
        cell = np.float32(CELL)
        together = composed(filled(now) / cell, before / cell) * cell
        together[np.isnan(now)] = np.nan
        return replace(self, motion=together, since_ns=skipped.since_ns)


class PacketDecoder:
    """The decoder of one camera; takes every message in the order of arrival.

    A message that is lost, which a gap in `pts` or in the stamps tells, or damaged leaves the pictures after it wrong
    in places. They are given all the same, without motion, until an intra picture mends them.

    Args:
        motion: find the motion of each picture.
    """

    def __init__(self, *, motion: bool) -> None:
        self._wants_motion = motion
        self._codec = self._frame_id = ""
        self._decoder: Any = None
        self._begin()

    @property
    def began(self) -> bool:
        """Whether a keyframe has come; before it nothing can be decoded."""
        return self._began

    def __call__(self, message: Any) -> list[DecodedPicture]:
        """The pictures that are complete with this message: one in most streams, none before the first keyframe.

        Raises:
            FrameError: another codec, a damaged packet, or PyAV is not installed; the next message is welcome.
        """
        codec = codec_of(message)
        if codec != self._codec:
            self._decoder, self._codec = _decoder_of(codec, self._wants_motion), codec
            self._begin()
        stamp_ns, self._frame_id = _origin(message)
        if self._is_gap(int(getattr(message, "pts", stamp_ns))):
            self._motion.lost()
        try:
            pictures = self._decoder.decode(_packet_of(message, stamp_ns))
        except Exception as error:  # PyAV has many kinds of them
            if not self._began:
                return []
            self._motion.lost()
            raise FrameError(
                f"a whole packet of {codec} was wanted, got {len(message.data)} bytes: {error}; send a keyframe"
            ) from error
        return self._all_decoded(pictures)

    def rest(self) -> list[DecodedPicture]:
        """The pictures that are left at the end of the stream, as with B pictures; a message after it begins anew.

        Raises:
            FrameError: they are damaged.
        """
        if self._decoder is None:
            return []
        decoder, self._decoder = self._decoder, None
        codec, self._codec = self._codec, ""
        try:
            pictures = decoder.decode(None)
        except Exception as error:  # as in __call__
            raise FrameError(
                f"the last pictures of {codec} were wanted whole, but they are damaged: {error}; record them again"
            ) from error
        return self._all_decoded(pictures)

    def _all_decoded(self, pictures: Sequence[Any]) -> list[DecodedPicture]:
        return [decoded for picture in pictures if (decoded := self._decoded(picture)) is not None]

    def _begin(self) -> None:
        self._motion = CodecMotion()
        self._began = False
        self._newest: int | None = None
        self._steps: deque[int] = deque(maxlen=_STEPS)
        self._before_ns: int | None = None

    def _decoded(self, picture: Any) -> DecodedPicture | None:
        self._began = self._began or bool(picture.key_frame)
        if not self._began:
            return None
        field = self._motion(picture) if self._wants_motion else None
        stamp_ns, before_ns = int(picture.pts), self._before_ns
        self._before_ns = stamp_ns
        if field is None:
            return DecodedPicture(stamp_ns, self._frame_id, picture)
        return DecodedPicture(stamp_ns, self._frame_id, picture, field.motion, before_ns)

    def _is_gap(self, count: int) -> bool:
        """Whether a packet is missing before the one of this stamp or number."""
        newest, self._newest = self._newest, count
        if newest is None:
            return False
        step = count - newest
        usual = median(self._steps) if self._steps else step
        if step > 0:  # there are encoders that leave every pts at 0
            self._steps.append(step)
        return step < 0 or step > _LONGER * usual


def codec_of(message: Any) -> str:
    """FFmpeg's decoder for a message: `h264` or `hevc`.

    Raises:
        FrameError: neither.
    """
    text = _format_of(message)
    named = _NAMED.search(text.lower())
    if named is None:
        raise FrameError(f"a packet of h264 or h265 was wanted, got {text!r}; set the camera's encoder to one of them")
    return _CODECS[named.group()]


def is_packet(message: Any) -> bool:
    """Whether a message is a packet of a video, and no picture of its own."""
    of_video = hasattr(message, "pts") or hasattr(message, "timestamp")  # as no other message of pictures has
    return of_video or (hasattr(message, "format") and _NAMED.search(_format_of(message).lower()) is not None)


def _format_of(message: Any) -> str:
    return str(message.format if hasattr(message, "format") else message.encoding)


def _origin(message: Any) -> tuple[int, str]:
    """Stamp in nanoseconds and frame_id."""
    if hasattr(message, "header"):
        return stamp_to_ns(message.header.stamp), str(message.header.frame_id)
    return stamp_to_ns(message.timestamp), str(message.frame_id)


def _decoder_of(codec: str, motion: bool) -> Any:
    try:
        import av
    except ImportError as error:
        raise FrameError(f"a video topic wants PyAV to decode {codec}: {error}; pip install av") from error
    decoder = av.CodecContext.create(codec, "r")
    decoder.thread_type = "SLICE"  # threads over frames would hold back as many of them
    # else FFmpeg gives nothing of H.265 from a loss to the next keyframe, which may be seconds away
    decoder.options = {"flags": "+output_corrupt", **(EXPORT if motion else {})}
    return decoder


def _packet_of(message: Any, stamp_ns: int) -> Any:
    import av

    data = bytes(memoryview(message.data))
    if not data:  # FFmpeg would take it for the end of the stream
        raise ValueError("it is empty")
    packet = av.Packet(data)
    packet.pts = stamp_ns  # comes back with the picture
    return packet
