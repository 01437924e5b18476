# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames from video files, and frames to H.264 files, through PyAV."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError

from vss_ros.core.errors import DataError
from vss_ros.core.frame import Frame, UInt8Array
from vss_ros.data.motion_codec import EXPORT, CodecMotion

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v")


class VideoSource:
    """The first video stream of a file as Frames; stamps are the file's presentation times, from its own zero.

    Packets that cannot be decoded are left out and counted in `skipped`.

    Args:
        path: the file.
        motion: give each frame the motion that the file's codec found, where it tells it.

    Raises:
        DataError: no such file, not a video, or cut off in its head.
    """

    def __init__(self, path: str | Path, *, motion: bool = False) -> None:
        self.path, self._motion = Path(path), motion
        self.name = self.path.name
        self.skipped: dict[str, int] = {}
        self.classes: tuple[str, ...] | None = None
        with self._open() as container:
            stream = container.streams.video[0]
            self._declared = int(stream.frames)
            self._count = self._declared or sum(1 for packet in container.demux(stream) if packet.size)

    def __len__(self) -> int:
        """Number of frames the file declares, or of its packets where it does not."""
        return self._count

    def __iter__(self) -> Iterator[Frame]:
        """Frames in the order they are shown; DataError after the last one if the file breaks off."""
        self.skipped = {}
        read = 0
        with self._open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            stream.codec_context.options = EXPORT if self._motion else {}
            rate = stream.average_rate or Fraction(25)
            before_ns, find, packets = None, CodecMotion(), _Packets()
            for picture in self._pictures(container, stream, find, packets):
                shown_s = picture.pts * picture.time_base if picture.pts is not None else read / rate
                image = np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)
                frame = Frame(round(shown_s * 1_000_000_000), image, stream=self.name, frame_id="camera")
                field = find(picture) if self._motion else None
                yield frame if field is None else replace(frame, motion=field.motion, motion_since_ns=before_ns)
                before_ns = frame.stamp_ns
                read += 1
            known = read + sum(self.skipped.values()) + packets.hidden
            is_short = known < self._declared and not packets.are_all(container, stream)
        if is_short or not read:
            raise DataError(
                f"{self.path} was wanted whole, but it breaks off after {read} of {self._count} frames; "
                "use the frames read so far, or copy the file again"
            )

    def _pictures(self, container: Any, stream: Any, motion: CodecMotion, packets: _Packets) -> Iterator[Any]:
        demuxed = container.demux(stream)
        while True:
            try:
                packet = next(demuxed, None)
            except FFmpegError:
                return
            if packet is None:
                return
            try:
                pictures = packet.decode()
            except FFmpegError:
                self.skipped["damaged packet"] = self.skipped.get("damaged packet", 0) + 1
                motion.lost()
                continue
            packets.take(packet)
            yield from pictures

    def _open(self) -> Any:
        if not self.path.is_file():
            raise DataError(f"a video file was wanted at {self.path}, but there is none; check the path")
        try:
            container = av.open(str(self.path))
        except (FFmpegError, OSError) as error:
            raise DataError(f"{self.path} cannot be read as a video: {error}; it is cut off or not a video") from error
        if not container.streams.video:
            container.close()
            raise DataError(f"{self.path} was wanted with a video stream, but has none")
        return container


@dataclass(slots=True)
class _Packets:
    """How far the decoded packets of a file reach; times in ticks of its stream.

    A whole file may have fewer pictures than it declares. An MP4 that was trimmed without encoding it anew hides
    pictures by its edit list, or does not even read their packets. An AVI counts an empty chunk for a dropped picture.
    """

    hidden: int = 0  # decoded for the sake of others, never shown
    _hidden_time: int = 0
    _start: int | None = None
    _end: int = 0
    _last_duration: int = 0

    def take(self, packet: Any) -> None:
        """One more decoded packet, in the order of the file."""
        # the packet in which a file is cut off is corrupt; the one that flushes the decoder has no time
        if packet.dts is None or packet.is_corrupt:
            return
        duration = packet.duration or 0
        if packet.is_discard:
            self.hidden += 1
            self._hidden_time += duration
        self._start = packet.dts if self._start is None else self._start
        self._end, self._last_duration = packet.dts + duration, duration

    def are_all(self, container: Any, stream: Any) -> bool:
        """Whether they fill the time that the file is to last."""
        # FFmpeg shortens the duration of an AVI that is cut off; each declared frame of an AVI lasts one tick
        wanted = stream.frames if container.format.name == "avi" else stream.duration
        if self._start is None or wanted is None:
            return False
        # an edit list may begin or end within a picture
        return self._end - self._start - self._hidden_time + self._last_duration / 2 >= wanted


class VideoWriter:
    """A new H.264 mp4 in yuv420p, which every player shows: `with VideoWriter("out.mp4", fps=15) as video: ...`.

    The size is the first image's; odd sizes get one more row or column, because yuv420p has none.

    Args:
        path: file to write; an existing one is replaced.
        fps: frames per second.
        quality: x264's constant rate factor, 0 (lossless) to 51; 20 looks clean.

    Raises:
        DataError: the file cannot be created.
    """

    def __init__(self, path: str | Path, *, fps: float = 10.0, quality: int = 20) -> None:
        if not fps > 0:
            raise DataError(f"a video wants fps > 0, got {fps}")
        self.path = Path(path)
        self._fps, self._quality = Fraction(fps).limit_denominator(1001), quality
        self._container: Any = None
        self._stream: Any = None
        self._size: tuple[int, int] | None = None

    def __enter__(self) -> VideoWriter:
        try:
            # PyAV creates the file with the first image only; here a wrong path shows at once.
            self.path.open("wb").close()
            self._container = av.open(str(self.path), "w", format="mp4")
        except (FFmpegError, OSError) as error:
            raise DataError(f"no video can be created at {self.path}: {error}; check the folder") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with closing(self._container):
                if self._stream is not None:
                    self._container.mux(self._stream.encode(None))
        except (FFmpegError, OSError) as refusal:
            unfinished = f"{self.path} cannot be finished: {refusal}; check the space left on the disk"
            if kind is None:
                raise DataError(unfinished) from refusal
            log.warning("%s", unfinished)  # what ended the block is told by the caller

    def write(self, image: UInt8Array) -> None:
        """Adds one `(H, W, 3)` uint8 RGB image; all must have the first one's size."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise DataError(f"a video wants images (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
        height, width = image.shape[:2]
        if self._size is None:
            self._size = height, width
            self._stream = self._container.add_stream("libx264", rate=self._fps)
            self._stream.width, self._stream.height = width + width % 2, height + height % 2
            self._stream.pix_fmt = "yuv420p"
            self._stream.options = {"crf": str(self._quality), "preset": "veryfast"}
        if (height, width) != self._size:
            raise DataError(f"a video of size {self._size} wants images of that size, got {(height, width)}")
        if height % 2 or width % 2:
            image = np.asarray(cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), np.uint8)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        try:
            self._container.mux(self._stream.encode(picture))
        except (FFmpegError, OSError) as error:
            raise DataError(f"{self.path} cannot be written on: {error}; check the space left on the disk") from error
