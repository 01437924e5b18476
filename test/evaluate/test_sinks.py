# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from test.core.test_card import card
from vss_ros.core.errors import DataError
from vss_ros.core.frame import Frame, Segmentation
from vss_ros.data.bag import BagSource
from vss_ros.data.video import VideoSource
from vss_ros.evaluate.sinks import LabelImages, LabelsBag, OverlayVideo, frame_rate, legend

SIZE = (48, 64)


def pairs(count: int) -> list[tuple[Frame, Segmentation]]:
    rng = np.random.default_rng(0)
    made = []
    for n in range(count):
        stamp_ns = 1_700_000_000_000_000_007 + 100_000_000 * n
        frame = Frame(stamp_ns, rng.integers(0, 256, (*SIZE, 3), np.uint8), frame_id="cam")
        labels = np.tile(np.array([0, 1, 255, 1], np.uint8), (48, 16))
        made.append((frame, Segmentation(stamp_ns, labels, np.full(SIZE, 10 * n, np.uint8), frame_id="cam")))
    return made


def test_the_labels_bag_holds_bytes_and_stamps_untouched(tmp_path: Path) -> None:
    from rosbags.highlevel import AnyReader

    sink = LabelsBag(tmp_path / "labels", card(tmp_path))
    written = pairs(3)
    for frame, result in written:
        sink.write(frame, result)
    sink.close()
    with AnyReader([tmp_path / "labels"]) as bag:
        found: dict[str, list] = {}
        for connection, _, raw in bag.messages():
            found.setdefault(connection.topic, []).append(bag.deserialize(raw, connection.msgtype))
    assert {topic: len(messages) for topic, messages in found.items()} == {
        "/vss/label_info": 1,
        "/vss/labels": 3,
        "/vss/confidence": 3,
    }
    for message, (_, result) in zip(found["/vss/labels"], written, strict=True):
        assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == result.stamp_ns
        assert (message.header.frame_id, message.encoding, message.step) == ("cam", "mono8", 64)
        assert bytes(message.data) == result.labels.tobytes()
    assert [c.class_name for c in found["/vss/label_info"][0].class_map] == ["road", "sky"]
    assert len(BagSource(tmp_path / "labels", topic="/vss/labels")) == 3


def test_the_overlay_shows_picture_labels_and_legend(tmp_path: Path) -> None:
    sink = OverlayVideo(tmp_path / "overlay.mp4", card(tmp_path))
    for frame, result in pairs(4):
        sink.write(frame, result)
    sink.close()
    frames = list(VideoSource(tmp_path / "overlay.mp4"))
    assert len(frames) == 4 and frames[0].size[1] == 128 and frames[0].size[0] > 48


def test_an_overlay_without_frames_writes_nothing(tmp_path: Path) -> None:
    OverlayVideo(tmp_path / "overlay.mp4", card(tmp_path)).close()
    assert not (tmp_path / "overlay.mp4").exists()


@pytest.mark.parametrize("count", [3, 7])
def test_an_overlay_runs_at_the_rate_of_the_source(tmp_path: Path, count: int) -> None:
    sink = OverlayVideo(tmp_path / "overlay.mp4", card(tmp_path))
    for n, (frame, result) in enumerate(pairs(count)):
        sink.write(replace(frame, stamp_ns=round(n * 1e9 / 15)), result)
    sink.close()
    stamps_ns = [frame.stamp_ns for frame in VideoSource(tmp_path / "overlay.mp4")]
    assert stamps_ns == pytest.approx([n * 1e9 / 15 for n in range(count)], abs=1e5)


@pytest.mark.parametrize(
    ("gaps_ms", "rate"),
    [([100, 100, 250, 100], 10), ([40] * 4, 25), ([60_000] * 4, 1), ([], 10), ([0, 0], 10), ([0.001], 120)],
)
def test_the_rate_is_that_of_most_gaps(gaps_ms: list[float], rate: float) -> None:
    stamps_ns = np.cumsum([1_700_000_000_000_000_000, *(round(1e6 * gap) for gap in gaps_ms)])
    assert frame_rate(stamps_ns.tolist()) == pytest.approx(rate)


def test_an_overlay_refuses_a_picture_of_another_size_when_it_comes(tmp_path: Path) -> None:
    sink = OverlayVideo(tmp_path / "overlay.mp4", card(tmp_path))
    (frame, result), (other, _) = pairs(2)
    sink.write(frame, result)
    with pytest.raises(DataError, match="wants images of that size"):
        sink.write(replace(other, image=np.zeros((96, 64, 3), np.uint8)), result)
    sink.close()
    assert len(list(VideoSource(tmp_path / "overlay.mp4"))) == 1


def test_label_images_are_indices(tmp_path: Path) -> None:
    sink = LabelImages(tmp_path / "out", card(tmp_path))
    for frame, result in pairs(2):
        sink.write(frame, result)
    sink.close()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        f"00000{n}_{what}" for n in range(2) for what in ("confidence.png", "labels.png", "overlay.jpg")
    ]
    labels = np.asarray(Image.open(tmp_path / "out" / "000001_labels.png"))
    assert np.array_equal(labels, pairs(2)[1][1].labels)


@pytest.mark.parametrize("width", [40, 130, 1000])
def test_the_legend_names_every_class(tmp_path: Path, width: int) -> None:
    strip = legend(card(tmp_path), width)
    assert strip.shape[1:] == (width, 3)
    assert (strip == np.array([128, 64, 128])).all(axis=2).any() and (strip == np.array([1, 2, 3])).all(axis=2).any()
