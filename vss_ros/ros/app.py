# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The node without middleware: messages of cameras go in, segmentations come out.

A face calls `offer` from its callbacks, which only puts the message into a one-slot mailbox. One worker thread takes
turns over the cameras, converts, segments and publishes. Engines release the interpreter lock while they run, so one
thread keeps the processor busy and the memory of each stream needs no lock.

Packets of a video are decoded where they arrive, every one and in order; what goes into the mailbox is their picture.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from vss_ros.core.errors import ConfigError, FrameError, VssError
from vss_ros.core.frame import Frame, Segmentation, UInt8Array
from vss_ros.core.keyframes import reads_codec_motion
from vss_ros.core.segmenter import StreamOptions
from vss_ros.data.messages import image_to_rgb, stamp_to_ns
from vss_ros.data.packets import DecodedPicture, PacketDecoder, is_packet
from vss_ros.evaluate.metrics import churn
from vss_ros.ros.statistics import Drop, StreamReport, StreamStatistics

log = logging.getLogger(__name__)

_KINDS_LOGGED = 20  # per camera; a stream of ever new nonsense must not fill the log
_LONGEST_FRAME_S = 10.0
_SHOWN_AGE_MS = 60_000  # older stamps are of a recording, their age says nothing about delay


class Stream(Protocol):
    """What the app needs of a StreamSegmenter."""

    options: StreamOptions
    resets: Counter[str]
    keyframes: Counter[str]

    @property
    def memory_bytes(self) -> int: ...

    @property
    def backend(self) -> str: ...

    def reset(self, reason: str = ...) -> None: ...

    def adopt(self, plan: Any) -> None: ...

    def __call__(self, frame: Frame) -> Segmentation: ...


class Model(Protocol):
    """What the app needs of `assemble.Model`: an empty stream of its own for each camera."""

    @property
    def options(self) -> StreamOptions: ...

    @property
    def plan(self) -> Any: ...

    def stream(self) -> Any: ...


@dataclass
class _Camera:
    name: str
    stream: Stream
    decoder: PacketDecoder
    statistics: StreamStatistics = field(default_factory=StreamStatistics)
    mailbox: tuple[Any, float] | None = None  # newest message and when it came, in seconds of the monotonic clock
    reset: str | None = None  # reason of a reset that the worker has still to pass on
    labels: UInt8Array | None = None  # the last ones that went out
    has_past: bool = False  # a frame has gone into the stream, so that there is something to forget
    logged: set[tuple[str, ...]] = field(default_factory=set)


class SegmentApp:
    """Cameras, mailboxes, the worker and the counters.

    Args:
        model: gives each camera its stream; they share one runtime.
        publish: takes each frame with its segmentation, in the worker's thread.
        cameras: their names, as `offer` and `Segmentation.stream` use them.
        max_age_ms: frames older than this are dropped when their turn comes; 0 keeps all.
        now_ns: clock that the frames' stamps belong to.

    Raises:
        ConfigError: no cameras, or two of one name.
    """

    def __init__(
        self,
        model: Model,
        publish: Callable[[Frame, Segmentation], None],
        *,
        cameras: Sequence[str] = ("camera",),
        max_age_ms: int = 0,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        if not cameras or len(set(cameras)) != len(cameras):
            raise ConfigError(f"cameras of different names were wanted, got {list(cameras)}; give each its own name")
        self._cameras = {name: _Camera(name, model.stream(), _decoder_for(model)) for name in cameras}
        self._turns = list(self._cameras.values())  # the next one to be served stands first
        self._publish, self._now_ns = publish, now_ns
        self._model, self._max_age_ms = model, max_age_ms
        self._changed = threading.Condition()  # guards everything that offer, reset, report and the worker share
        self._active = False
        self._worker: threading.Thread | None = None

    @property
    def active(self) -> bool:
        """Whether frames are taken."""
        return self._active

    def start(self) -> None:
        """Take frames from now on.

        Raises:
            VssError: the worker of a former start still hangs in its last frame.
        """
        with self._changed:
            if self._active:
                return
            if self._worker is not None and self._worker.is_alive():
                raise VssError(
                    "the last frame before the stop is still in work; wait for it, or start the program anew"
                )
            self._active = True
            for camera in self._turns:  # of the packets since the stop, none was decoded
                camera.decoder = _decoder_for(self._model)
            gc.freeze()  # a full collection that walks all that is loaded would stop a frame for tens of milliseconds
            self._worker = threading.Thread(target=self._work, name="segment", daemon=True)
            self._worker.start()

    def stop(self, reason: str = "deactivate") -> bool:
        """Take no more frames, wait for the one in work and forget the past; nothing is published after this returns.

        Returns:
            False where the frame in work did not end in ten seconds; its result is thrown away when it does.
        """
        gc.unfreeze()
        with self._changed:
            self._active = False
            for camera in self._turns:
                if camera.mailbox is not None:
                    camera.mailbox = None
                    camera.statistics.drop(Drop.INACTIVE)
            self._changed.notify_all()
        self.reset(reason)
        if self._worker is None:
            return True
        self._worker.join(_LONGEST_FRAME_S)
        if self._worker.is_alive():
            log.error("the frame in work has not ended after %g s; its result will be thrown away", _LONGEST_FRAME_S)
            return False
        return True

    def offer(self, camera: str, message: Any) -> None:
        """Put a camera's newest message into its mailbox; returns at once, or when a packet is decoded.

        Args:
            camera: one of the names given to the app.
            message: Image, CompressedImage, or one of the packets that `data/packets.py` names, of any middleware; must
                not be changed any more.
        """
        entry = self._cameras[camera]
        with self._changed:
            entry.statistics.received += 1
            if not self._active:
                entry.statistics.drop(Drop.INACTIVE)
                return
        for ready in self._decoded(entry, message) if is_packet(message) else (message,):
            with self._changed:
                if not self._active:
                    entry.statistics.drop(Drop.INACTIVE)
                    continue
                if entry.mailbox is not None:
                    entry.statistics.drop(Drop.SUPERSEDED)
                    ready = _in_place_of(entry.mailbox[0], ready)
                entry.mailbox = (ready, time.monotonic())
                self._changed.notify()

    def reset(self, reason: str = "request", only: str | None = None) -> None:
        """Forget the past before the next frame: of every camera, or `only` of the one of that name."""
        with self._changed:
            for camera in self._turns:
                if camera.has_past and only in (None, camera.name):  # a reset that does nothing is not to be counted
                    camera.reset = reason

    def tune(self, model: Model, max_age_ms: int) -> None:
        """The options and the plan of `model` from the next frame on; another plan clears the memory."""
        with self._changed:
            self._model, self._max_age_ms = model, max_age_ms

    def report(self) -> tuple[StreamReport, ...]:
        """Figures of each camera, in the order they were given."""
        now_s = time.monotonic()
        with self._changed:
            return tuple(
                entry.statistics.report(
                    *(entry.name, entry.stream.resets, entry.stream.memory_bytes, now_s, entry.stream.backend),
                    keyframes=entry.stream.keyframes,
                )
                for entry in self._cameras.values()
            )

    def _decoded(self, camera: _Camera, packet: Any) -> Sequence[DecodedPicture]:
        """The pictures that a packet completes; it counts as dropped where that is none because of a fault or loss."""
        try:
            pictures = camera.decoder(packet)
        except Exception as error:  # whatever a decoder does, the next packet deserves its chance
            self._complain(camera, Drop.BAD_ENCODING, error, _kind_of(packet))
            cause = Drop.BAD_ENCODING
        else:
            if camera.decoder.began:
                return pictures
            if self._is_news(camera, Drop.NO_KEYFRAME.value):
                log.warning(
                    "camera '%s': a keyframe was wanted to begin with, none has come yet; if this lasts, let the "
                    "encoder send some, at least one in two seconds. Further packets before it are only counted",
                    camera.name,
                )
            cause = Drop.NO_KEYFRAME
        with self._changed:
            camera.statistics.drop(cause)
        return ()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            camera, message, came_s, model, reset = taken
            try:
                if reset is not None:
                    camera.stream.reset(reset)
                camera.stream.options = model.options
                camera.stream.adopt(model.plan)
                cause = self._serve(camera, message, came_s)
            except FrameError as error:
                self._complain(camera, Drop.BAD_ENCODING, error, _kind_of(message))
                cause = Drop.BAD_ENCODING
            except Exception as error:
                # whatever a frame or an engine does, the next frame deserves its chance
                self._complain(camera, Drop.FAILED, error, type(error).__name__)
                cause = Drop.FAILED
            if cause is not None:
                with self._changed:
                    camera.statistics.drop(cause)

    def _take(self) -> tuple[_Camera, Any, float, Model, str | None] | None:
        """The newest message of the camera whose turn it is, and with which model and reset; waits for one.

        None: the app was stopped.
        """
        with self._changed:
            while self._active:
                for camera in self._turns:
                    if camera.mailbox is not None:
                        (message, came_s), camera.mailbox = camera.mailbox, None
                        self._turns.remove(camera)
                        self._turns.append(camera)
                        reset, camera.reset = camera.reset, None
                        camera.has_past = True
                        return camera, message, came_s, self._model, reset
                self._changed.wait()
            return None

    def _serve(self, camera: _Camera, message: Any, came_s: float) -> Drop | None:
        """Labels of one message go out; or why they did not."""
        began_s = time.monotonic()
        is_decoded = isinstance(message, DecodedPicture)
        stamp_ns = message.stamp_ns if is_decoded else stamp_to_ns(message.header.stamp)
        if self._is_too_old(camera, stamp_ns):
            return Drop.TOO_OLD
        if is_decoded:
            frame = message.frame(camera.name)
        else:
            frame = Frame(stamp_ns, image_to_rgb(message), camera.name, str(message.header.frame_id))
        converted_s = time.monotonic()
        result = camera.stream(frame)
        segmented_s = time.monotonic()
        with self._changed:
            if not self._active:
                return Drop.INACTIVE
        self._publish(frame, result)
        ended_s = time.monotonic()
        age_ms = (self._now_ns() - stamp_ns) / 1e6
        parts_s = {"wait": began_s - came_s, "convert": converted_s - began_s, "segment": segmented_s - converted_s}
        parts_s |= {"publish": ended_s - segmented_s, "total": ended_s - came_s}
        parts_ms = dict(result.times_ms) | {name: 1e3 * spent for name, spent in parts_s.items()}
        if 0 <= age_ms < _SHOWN_AGE_MS:
            parts_ms["age"] = age_ms
        changed = None
        if camera.labels is not None and not result.reset and camera.labels.shape == result.labels.shape:
            changed = churn(camera.labels, result.labels)
        camera.labels = result.labels
        with self._changed:
            camera.statistics.publish(parts_ms, result.remembered, ended_s, changed)
        return None

    def _is_too_old(self, camera: _Camera, stamp_ns: int) -> bool:
        age_ms = (self._now_ns() - stamp_ns) / 1e6
        if self._max_age_ms <= 0 or age_ms <= self._max_age_ms:
            return False
        if self._is_news(camera, Drop.TOO_OLD.value):
            log.warning(
                "camera '%s': frames of at most %d ms were wanted, got one %.0f ms old; raise node.max_age_ms, or set "
                "use_sim_time where the stamps are of a simulator or a bag. Further ones are only counted",
                camera.name,
                self._max_age_ms,
                age_ms,
            )
        return True

    def _complain(self, camera: _Camera, cause: Drop, error: Exception, kind: str) -> None:
        """One line for each kind of fault and camera, with a traceback where the fault is not the frame's."""
        if self._is_news(camera, cause.value, kind):
            trace = None if isinstance(error, VssError) else error
            text = str(error) or type(error).__name__
            log.error("camera '%s': %s. Further ones are only counted", camera.name, text, exc_info=trace)

    @staticmethod
    def _is_news(camera: _Camera, *kind: str) -> bool:
        if kind in camera.logged or len(camera.logged) >= _KINDS_LOGGED:
            return False
        camera.logged.add(kind)
        return True


def _decoder_for(model: Model) -> PacketDecoder:
    return PacketDecoder(motion=reads_codec_motion(model.plan, model.options.keyframes))


def _in_place_of(superseded: Any, newest: Any) -> Any:
    """The newest message; a decoded picture leads from now on to where the superseded one did."""
    if isinstance(newest, DecodedPicture) and isinstance(superseded, DecodedPicture):
        return newest.instead_of(superseded)
    return newest


def _kind_of(message: Any) -> str:
    return str(getattr(message, "encoding", None) or getattr(message, "format", ""))


def warm_up(model: Model) -> float:
    """Segment two black pictures of the model's size on a stream of its own, so that the first real frame is not slow.

    Two, because the second one is the first that reads the memory. Faults of model and backend show themselves here.

    Returns:
        Milliseconds of the second one.
    """
    stream = model.stream()
    image = np.zeros((*model.options.model_size, 3), np.uint8)
    stream(Frame(0, image))
    return float(stream(Frame(1, image)).times_ms.get("total", 0.0))
