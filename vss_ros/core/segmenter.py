# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""One object per stream with one verb: a Frame goes in, a Segmentation comes out."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from vss_ros.core.frame import UNLABELLED, Frame, Segmentation, UInt8Array
from vss_ros.core.keyframes import KeyframeRules, Keyframes, Moved
from vss_ros.core.memory import MemoryBank
from vss_ros.core.method import Host, KeyframeMethod, Runtime, StepInput, TemporalMethod
from vss_ros.core.motion import MotionSource
from vss_ros.core.prepare import Resize, Size, like, nearest, needs_resizing
from vss_ros.core.scene import Scene
from vss_ros.core.step import Stepped, Stepper, spare_slots_of, stepper_of

log = logging.getLogger(__name__)

RuntimeAt = Callable[[Size], Runtime]  # `(height, width)` px of the network's picture -> what is to run it


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How a stream is treated; each value is described in `core/config.py`.

    Attributes:
        model_size: `(height, width)` px the model is meant for.
        input_size: fixed `(height, width)` px to run at, or None to keep the camera's aspect ratio.
        output_size: `(height, width)` px to publish at, None for the camera's size, `model` for the model's.
        max_gap_s: longest pause between frames that the memory survives.
        scene_cut: largest change of layout and colours that the memory survives, 0..1; 0 does not look.
        confidence_min: labels below this probability become unlabelled, 0..1.
        keyframes: of a method that has some.
    """

    model_size: Size
    input_size: Size | None = None
    output_size: Size | str | None = None
    max_gap_s: float = 0.5
    scene_cut: float = 0.0
    confidence_min: float = 0.0
    keyframes: KeyframeRules = field(default_factory=KeyframeRules)


class StreamSegmenter:
    """Segments the frames of one stream in order, remembering what the method's plan asks to remember.

    Args:
        plan: the method.
        host: the network it stands on.
        runtime: runs the stages; may be shared by many segmenters, the memory is this one's own.
        options: sizes, reset rule and confidence threshold.
        resize: makes pictures fit the model; without one only pictures of the right size are taken.
        runtime_at: asked before each frame, so that another runtime of the same stages can take over between two
            frames; what is remembered goes along. None stays with `runtime`.
        motion: for a method with keyframes, finds the motion of frames that bring none.
    """

    def __init__(
        self,
        plan: TemporalMethod,
        host: Host,
        runtime: Runtime,
        options: StreamOptions,
        *,
        resize: Resize = needs_resizing,
        runtime_at: RuntimeAt | None = None,
        motion: MotionSource | None = None,
    ) -> None:
        self.options = options
        self.resets: Counter[str] = Counter()
        self.keyframes: Counter[str] = Counter()  # by what made them keyframes
        self._plan, self._host, self._runtime, self._resize = plan, host, runtime, resize
        self._runtime_at = runtime_at
        self._memory: dict[str, MemoryBank] = {}
        self._stepper: Stepper | None = None  # of the plan, the runtime and the memory
        self._input: Size | None = None
        self._last: Frame | None = None
        self._scene: Scene | None = None  # of the last frame
        self._pending_reset: str | None = None
        self._motion = motion
        self._chooser: Keyframes | None = None  # of keyframes, for a method that has some

    @property
    def memory_bytes(self) -> int:
        """Bytes held by this stream's memory."""
        return sum(bank.bytes for bank in self._memory.values())

    @property
    def backend(self) -> str:
        """Name of the runtime that the newest frame ran on."""
        return self._runtime.name

    def reset(self, reason: str = "request") -> None:
        """Forget the past before the next frame; `reason` is counted and reported with that frame."""
        self._pending_reset = reason

    def adopt(self, plan: TemporalMethod) -> None:
        """Go on with another plan for the same stages, such as one of more slots; if it differs, forget the past."""
        if plan == self._plan:
            return
        self._plan = plan
        self._input = None  # the next frame allocates the memory that the plan asks for
        if self._last is not None:
            self.reset("memory settings changed")

    def __call__(self, frame: Frame) -> Segmentation:
        """Segment one frame.

        Raises:
            FrameError: the frame cannot be segmented; memory and clock stay as they were, the next frame is welcome.
                So do they after any other error, or they are cleared before the next frame.
        """
        started = perf_counter()
        size = self.options.input_size or like(frame.size, self.options.model_size, self._host.stride)
        image = np.ascontiguousarray(self._resize(frame.image, size))
        scene = Scene.of(image) if self.options.scene_cut > 0 else None
        if self._runtime_at is not None:
            self._move_to(self._runtime_at(size), size)
        reset = self._forget_if_needed(frame, size, scene)
        remembered = sum(len(bank.read()) for bank in self._memory.values())
        resized = perf_counter()
        moved = self._moved(frame, image)
        prepared = perf_counter()

        if self._stepper is None:
            self._stepper = stepper_of(self._runtime, self._plan, self._memory)
        stepped = self._stepped(self._stepper, _step_input(image, moved))
        labels, confidence = stepped.labels, stepped.confidence
        inferred = perf_counter()

        if self.options.confidence_min > 0:
            labels = np.where(confidence < self.options.confidence_min * 255, np.uint8(UNLABELLED), labels)
        target = size if self.options.output_size == "model" else self.options.output_size or frame.size
        assert not isinstance(target, str), "output_size is a size, None or 'model'"
        # a segmentation is the caller's to keep: runtimes reuse their output buffers
        labels, confidence = (_owned(nearest(x, target), x) for x in (labels, confidence))
        self._last, self._scene = frame, scene
        self._take(frame, image, moved)
        finished = perf_counter()
        parts = {"prepare": resized - started, **stepped.seconds, "infer": inferred - prepared}
        if moved is not None:
            parts["motion"] = prepared - resized
        parts |= {"finish": finished - inferred, "total": finished - started}
        return Segmentation(
            stamp_ns=frame.stamp_ns,
            labels=labels,
            confidence=confidence,
            stream=frame.stream,
            frame_id=frame.frame_id,
            times_ms={name: 1e3 * seconds for name, seconds in parts.items()},
            remembered=remembered,
            reset=reset,
        )

    def _stepped(self, stepper: Stepper, x: StepInput) -> Stepped:
        """The step; one that fails after it has remembered its frame leaves a past that no clock of ours fits."""
        before = [bank.ages for bank in self._memory.values()]
        try:
            return stepper(x)
        except Exception:
            if [bank.ages for bank in self._memory.values()] != before:
                self.reset("step failed")
            raise

    def _moved(self, frame: Frame, image: UInt8Array) -> Moved | None:
        """Keyframe or motion; None for a method that asks for neither."""
        if self._chooser is None or not isinstance(self._plan, KeyframeMethod):
            return None
        return self._chooser.decide(frame, image, self._plan.period, self.options.keyframes)

    def _take(self, frame: Frame, image: UInt8Array, moved: Moved | None) -> None:
        if self._chooser is not None and moved is not None:
            self._chooser.take(frame, image, moved)
            if moved.why is not None:
                self.keyframes[moved.why] += 1

    def _move_to(self, runtime: Runtime, size: Size) -> None:
        """Run on `runtime` from this frame on, and take the memory along; on an error of `runtime` nothing changes."""
        if runtime is self._runtime:
            return
        if size == self._input:  # else the memory is allocated anew for this frame
            try:
                held = {name: bank.on_host(self._runtime.download) for name, bank in self._memory.items()}
            except Exception as error:
                log.warning("what was remembered is lost with the backend '%s': %s", self._runtime.name, error)
                self._input = None
                self.reset("backend failed")
            else:
                spare = spare_slots_of(runtime)
                self._memory = {
                    name: bank.moved(held[name], runtime.upload, spare=spare) for name, bank in self._memory.items()
                }
        self._runtime, self._stepper = runtime, None

    def _forget_if_needed(self, frame: Frame, size: Size, scene: Scene | None) -> str | None:
        """Clear or allocate the memory; the reason why it was cleared, or None (also for a stream's first frame)."""
        reason = self._pending_reset or self._reason_to_forget(frame, scene)
        self._pending_reset = None
        if size != self._input:
            empty, spare, banks = self._runtime.empty, spare_slots_of(self._runtime), self._plan.banks(self._host)
            self._memory = {bank.name: MemoryBank(bank, *size, empty, spare=spare) for bank in banks}
            self._stepper = None
            self._input, self._chooser = size, self._keyframes_at(size)
        elif reason is not None:
            for bank in self._memory.values():
                bank.clear()
            if self._chooser is not None:
                self._chooser.clear()
        if reason is not None:
            self.resets[reason] += 1
            log.info("memory of stream '%s' cleared: %s", frame.stream, reason)
        return reason

    def _keyframes_at(self, size: Size) -> Keyframes | None:
        if not isinstance(self._plan, KeyframeMethod):
            return None
        stride = self._plan.motion_stride(self._host)
        return Keyframes((size[0] // stride, size[1] // stride), self._motion)

    def _reason_to_forget(self, frame: Frame, scene: Scene | None) -> str | None:
        last = self._last
        if last is None:
            return None
        gap_s = (frame.stamp_ns - last.stamp_ns) / 1e9
        if gap_s < 0:
            return "stamp went back"
        if gap_s > self.options.max_gap_s:
            return "gap"
        if frame.size != last.size:
            return "size changed"
        if frame.frame_id != last.frame_id:
            return "frame_id changed"
        is_cut = scene is not None and self._scene is not None and scene.change(self._scene) > self.options.scene_cut
        return "scene cut" if is_cut else None


def _step_input(image: UInt8Array, moved: Moved | None) -> StepInput:
    """On the host still: the stepper takes it to the runtime."""
    return StepInput(image) if moved is None else StepInput(image, moved.motion, moved.why is not None)


def _owned(result: np.ndarray[Any, Any], source: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return result.copy() if result is source else result
