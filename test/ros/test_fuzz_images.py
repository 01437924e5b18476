# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Whatever a camera driver, a bag or a stranger sends: the node goes on, and labels belong to pictures that came.

Messages are drawn as they reach the application, which runs as it is, with a segmenter whose network is three lines of
numpy. A few hundred cases, the same each time; ten thousand new ones with
`pytest -m slow test/ros/test_fuzz_images.py` (two minutes).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test.core.fakes import HOST, FakeRuntime, Summing
from vss_ros.core.frame import Frame, Segmentation
from vss_ros.core.segmenter import StreamOptions, StreamSegmenter
from vss_ros.data.messages import ENCODINGS, stamp_to_ns
from vss_ros.data.resize import resize
from vss_ros.data.typestore import IMAGE, ros2_types, rosbags_image_types
from vss_ros.ros.app import SegmentApp
from vss_ros.ros.conversions import label_images

TYPES = rosbags_image_types()
PATIENCE_S = 20.0
BYTES_PER_PIXEL = {"rgb8": 3, "bgr8": 3, "8UC3": 3, "rgba8": 4, "bgra8": 4, "mono16": 2} | dict.fromkeys(
    ("yuv422", "uyvy", "yuv422_yuy2", "yuyv"), 2
)
NOISE = np.random.default_rng(0).integers(0, 256, 50_000, np.uint8)
PICTURE = NOISE[: 24 * 32 * 3].reshape(24, 32, 3)
JPEG, PNG = (cv2.imencode(suffix, PICTURE)[1].tobytes() for suffix in (".jpg", ".png"))
JPEG_SIZE = struct.pack(">HH", *PICTURE.shape[:2])
assert JPEG.count(JPEG_SIZE) == 1


@dataclass(frozen=True)
class Case:
    """A message, and whether it is a picture: yes, no, or (None) not for this test to say."""

    message: Any
    sound: bool | None
    what: str

    @property
    def is_packet(self) -> bool:
        """Whether it says that it is a packet of a video: without a keyframe before it, it is counted as such."""
        return any(codec in getattr(self.message, "format", "").lower() for codec in ("264", "265", "hevc"))


class Node:
    """The application, and what it has published: the picture's frame, and the labels as they go on the wire."""

    def __init__(self) -> None:
        self.options, self.plan = StreamOptions(model_size=(16, 16), scene_cut=0.18), Summing()
        self.sent: list[tuple[Frame, Any]] = []
        self.app = SegmentApp(self, self._publish)
        self.app.start()

    def stream(self) -> StreamSegmenter:
        return StreamSegmenter(self.plan, HOST, FakeRuntime(), self.options, resize=resize)

    def _publish(self, frame: Frame, result: Segmentation) -> None:
        wire = [bytes(ros2_types().serialize_cdr(message, IMAGE)) for message in label_images(result, TYPES)]
        labels, confidence = (ros2_types().deserialize_cdr(cdr, IMAGE) for cdr in wire)
        assert labels.header == confidence.header
        self.sent.append((frame, labels))

    def drops(self) -> dict[str, int]:
        return {cause: count for cause, count in self.app.report()[0].dropped.items() if count}

    def is_idle(self) -> bool:
        (report,) = self.app.report()
        return report.received == report.published + sum(report.dropped.values())

    def offer(self, *messages: Any) -> None:
        """All at once; returns when none is waiting or in work any more, so that each is published or counted."""
        received = self.app.report()[0].received
        for message in messages:
            self.app.offer("camera", message)
        deadline = time.monotonic() + PATIENCE_S
        while not self.is_idle():
            assert time.monotonic() < deadline, f"neither published nor counted: {self.app.report()}"
            time.sleep(0.0002)
        assert self.app.report()[0].received == received + len(messages)


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    made = Node()
    yield made
    assert made.app.stop()


# Strategies

INT32, UINT32 = st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**32 - 1)
SMALL = st.integers(0, 40)
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["", "rgb8 ", "RGB8", "32FC1", "16UC1", "bayer_rggb16", "h264", "hevc", "jpeg"]
)
TIMES = st.builds(TYPES.time, sec=st.sampled_from([0, 1, 1_700_000_000]) | INT32, nanosec=st.integers(0, 10**9 - 1))
HEADERS = st.builds(TYPES.header, stamp=TIMES, frame_id=st.just("cam_optical") | st.text(max_size=8))


@st.composite
def pictures(draw: Callable[..., Any]) -> Case:
    """An Image of any encoding that is what it says it is."""
    encoding, padding = draw(st.sampled_from(ENCODINGS)), draw(st.integers(0, 9))
    height, width = (2 * draw(st.integers(8, 20)) for _ in range(2))
    rows = height * 3 // 2 if encoding in ("nv12", "nv21") else height
    step = width * BYTES_PER_PIXEL.get(encoding, 1) + padding
    # the last row's padding may be missing, and anything may follow
    size = step * rows + draw(st.integers(-padding, 9))
    message = TYPES.image(
        header=draw(HEADERS),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=draw(st.integers(0, 1)),
        step=step,
        data=NOISE[:size],
    )
    return Case(message, True, "picture")


@st.composite
def damaged_pictures(draw: Callable[..., Any]) -> Case:
    """An Image with one fault."""
    message = draw(pictures()).message
    least = message.width * BYTES_PER_PIXEL.get(message.encoding, 1)
    faults: dict[str, dict[str, Any]] = {
        "other encoding": {"encoding": draw(TEXTS.filter(lambda text: text not in ENCODINGS))},
        "step too small": {"step": draw(st.integers(0, least - 1))},
        "step too large": {"step": draw(st.integers(message.step * 2, 2**32 - 1))},
        "cut off": {"data": message.data[: draw(st.integers(0, message.height * least - 1))]},
        "empty": {"data": message.data[:0]},
        "no rows": {"height": 0},
        "no columns": {"width": 0},
        "too small to see": {"height": draw(st.integers(1, 7)) * 2},
        "more rows than data": {"height": message.height * draw(st.integers(2, 10**6)) + 22},
        "more columns than data": {"width": message.width * draw(st.integers(12, 10**6))},
    }
    what = draw(st.sampled_from(sorted(faults)))
    return Case(replace(message, **faults[what]), False, what)


@st.composite
def files(draw: Callable[..., Any]) -> Case:
    """A CompressedImage: whole, cut off, something else, or with bytes changed, which nobody can always notice.

    One whose format names a video is no picture, whatever it holds.
    """
    data, what = (
        draw(st.sampled_from([JPEG, PNG])),
        draw(st.sampled_from(["file", "cut", "none", "other size", "bytes changed"])),
    )
    sound: bool | None = what == "file"
    if what == "cut":
        data = data[: draw(st.integers(0, len(data) - 12))]
    elif what == "none":
        data = draw(st.binary(max_size=64))
    elif what == "other size":  # of more pixels than the data can hold, where OpenCV would fill gigabytes with grey
        data = JPEG.replace(JPEG_SIZE, struct.pack(">HH", *(draw(st.integers(2000, 65535)) for _ in range(2))))
    elif what == "bytes changed":
        sound, changed = None, bytearray(data)
        for at, value in draw(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=4)):
            changed[at % len(changed)] = value
        data = bytes(changed)
    message = TYPES.compressed(header=draw(HEADERS), format=draw(TEXTS), data=np.frombuffer(data, np.uint8))
    case = Case(message, sound, what)
    return replace(case, sound=False) if case.is_packet else case


# every field by itself; stamps with 4 s of nanoseconds, too
ANYTHING = st.builds(
    lambda **fields: Case(TYPES.image(**fields), None, "anything"),
    header=st.builds(
        TYPES.header, stamp=st.builds(TYPES.time, sec=INT32, nanosec=UINT32), frame_id=st.text(max_size=300)
    ),
    height=SMALL | UINT32,
    width=SMALL | UINT32,
    encoding=st.sampled_from(ENCODINGS) | TEXTS,
    is_bigendian=st.integers(0, 255),
    step=SMALL | st.integers(0, 200) | UINT32,
    data=st.integers(0, 20_000).map(lambda size: NOISE[:size]),
)
CASES = pictures() | damaged_pictures() | files() | ANYTHING


# Properties


def belongs(sent: tuple[Frame, Any], message: Any) -> bool:
    """Whether labels are of this message: stamp, frame_id and, as far as a message says it, size."""
    frame, labels = sent
    size = (labels.height, labels.width)
    return (
        stamp_to_ns(labels.header.stamp) == stamp_to_ns(message.header.stamp)
        and labels.header.frame_id == message.header.frame_id
        and (hasattr(message, "format") or size == (message.height, message.width))
        and size == frame.size
        and labels.step * labels.height == labels.width * labels.height == len(labels.data)
    )


def check_one_by_one(node: Node, case: Case, good: Case) -> None:
    """A picture has labels, anything else one count of its cause; the picture after it has labels."""
    node.sent.clear()
    before = node.drops()
    node.offer(case.message)
    if case.sound is not None:
        assert len(node.sent) == case.sound, case.what
    assert all(belongs(sent, case.message) for sent in node.sent), case.what
    causes = dict(before)
    if not node.sent:
        cause = "no keyframe" if case.is_packet else "bad encoding"
        causes[cause] = causes.get(cause, 0) + 1
    assert node.drops() == causes, "an exception nobody foresaw is counted as failed"
    node.sent.clear()
    node.offer(good.message)
    assert len(node.sent) == 1 and belongs(node.sent[0], good.message)
    assert node.sent[0][1].header == good.message.header
    assert node.drops() == causes


def check_burst(node: Node, cases: list[Case], good: Case) -> None:
    """Faster than they are served: labels come in the order of their pictures, and the last picture has labels."""
    node.sent.clear()
    node.offer(*[case.message for case in cases], good.message)
    candidates = iter([case.message for case in cases if case.sound is not False] + [good.message])
    for sent in node.sent:
        assert any(belongs(sent, message) for message in candidates), "labels of no picture, or out of order"
    assert node.sent and belongs(node.sent[-1], good.message)


def fuzz(cases: int, *, anew: bool = False) -> Any:
    return settings(max_examples=cases, deadline=None, derandomize=not anew)


@fuzz(250)
@given(case=CASES, good=pictures())
def test_no_message_harms_the_next(node: Node, case: Case, good: Case) -> None:
    check_one_by_one(node, case, good)


@fuzz(100)
@given(cases=st.lists(CASES, max_size=6), good=pictures())
def test_no_burst_harms_the_last(node: Node, cases: list[Case], good: Case) -> None:
    check_burst(node, cases, good)


@pytest.mark.slow
@fuzz(7_000, anew=True)
@given(case=CASES, good=pictures())
def test_no_message_harms_the_next_in_thousands(node: Node, case: Case, good: Case) -> None:
    check_one_by_one(node, case, good)


@pytest.mark.slow
@fuzz(3_000, anew=True)
@given(cases=st.lists(CASES, max_size=6), good=pictures())
def test_no_burst_harms_the_last_in_thousands(node: Node, cases: list[Case], good: Case) -> None:
    check_burst(node, cases, good)
