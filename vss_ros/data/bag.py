# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames from a bag: rosbag2 (mcap, sqlite3; folder or file) and rosbag1, without ROS."""

from __future__ import annotations

import difflib
import logging
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from vss_ros.core.errors import DataError, FrameError
from vss_ros.core.frame import UNLABELLED, Frame, UInt8Array
from vss_ros.data.bag_salvage import Topic, open_bag
from vss_ros.data.messages import TRANSPORTS, image_to_labels, image_to_rgb, stamp_to_ns
from vss_ros.data.packets import PacketDecoder, is_packet
from vss_ros.data.typestore import LABEL_INFO

_LOG = logging.getLogger(__name__)
_TRUTH_ENDING = "/labels_truth"
# Images that wait for a label of the same stamp, and labels that wait for an image: a label written more than this many
# frames apart from its image is given up, so memory stays bounded.
_WAITING = 8


class BagSource:
    """The images of one topic as Frames, with the stamps of their headers and the topic as stream.

    A message that cannot be decoded is left out, counted by cause in `skipped` and logged once per cause. A bag that
    breaks off yields what is there first. Each iteration reads the bag anew.

    Args:
        path: folder of a rosbag2, or a `.mcap`, `.db3` or `.bag` file.
        topic: of images, or of a video's packets; None for the only one.
        truth_topic: mono8 labels with the images' stamps; None takes `.../labels_truth` if the bag has one such topic.
        motion: give each frame of a video the motion that its codec found, where it tells it.

    Raises:
        DataError: no such path, nothing readable, no images, or a topic to choose.
    """

    def __init__(
        self, path: str | Path, *, topic: str | None = None, truth_topic: str | None = None, motion: bool = False
    ) -> None:
        self.path, self._motion = Path(path), motion
        self.name = self.path.name
        self.skipped: dict[str, int] = {}
        if not self.path.exists():
            raise DataError(f"a bag was wanted at {self.path}, but nothing is there; check the path")
        with closing(open_bag(self.path)) as bag:
            topics, broken = bag.topics, bag.broken
        if broken and not topics:
            raise DataError(f"{self.path} was wanted whole, but it breaks off before the first frame: {broken}")
        images = {t.name: t for t in topics if t.type_name in TRANSPORTS.values()}
        truths = [name for name in images if name.endswith(_TRUTH_ENDING)]
        if truth_topic is None and len(truths) == 1 and topic != truths[0]:
            truth_topic = truths[0]
        elif truth_topic is not None and truth_topic not in images:
            raise DataError(_no_topic(self.path, truth_topic, topics))
        self.truth_topic = truth_topic
        self.topic = _chosen_topic(self.path, topic, images, topics, truth_topic)
        self._count = images[self.topic].count

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the truth's classes by id, from the one LabelInfo beside its topic; None where there is none."""
        if self.truth_topic is None:
            return None
        with closing(open_bag(self.path)) as bag:
            place = _namespace(self.truth_topic)
            infos = [t.name for t in bag.topics if t.type_name == LABEL_INFO and _namespace(t.name) == place]
            try:
                found = next(bag.messages(infos), None) if len(infos) == 1 else None
            except Exception:  # as in __iter__, which says why the bag breaks off
                return None
        return None if found is None or isinstance(found[1], Exception) else _class_names(found[1])

    def __len__(self) -> int:
        """Number of image messages, those that cannot be decoded included."""
        return self._count

    def __iter__(self) -> Iterator[Frame]:
        """Frames in the order of the bag.

        Raises:
            DataError: after the last good frame, when the bag breaks off or none of its images could be decoded.
        """
        self.skipped = {}
        decoder = PacketDecoder(motion=self._motion)
        truth, read, seen, known = _Truth(self.truth_topic is not None), 0, 0, 0
        names = [self.topic] if self.truth_topic is None else [self.topic, self.truth_topic]
        with closing(open_bag(self.path)) as bag:
            reason, messages = bag.broken, bag.messages(names)
            while True:
                try:
                    named = next(messages, None)
                except Exception as error:  # rosbags lets through what its storages raise: apsw, struct, zstd
                    reason = f"{error}".strip() or type(error).__name__
                    break
                if named is None:
                    break
                seen += named[0] == self.topic
                for frame in self._ready(*named, truth, decoder):
                    read, known = read + 1, known + (frame.truth is not None)
                    yield frame
            for frame in self._rest(truth, decoder):
                read, known = read + 1, known + (frame.truth is not None)
                yield frame
        if self.truth_topic is not None and read and not known:
            _LOG.warning(
                "%s: no image of %s has a label of the same stamp and size on %s; there is no truth to compare with",
                *(self.path, self.topic, self.truth_topic),
            )
        if reason is None and seen < len(self):
            reason = f"only {seen} of its {len(self)} images are there"
        if reason is not None:
            raise DataError(
                f"{self.path} was wanted whole, but it breaks off after {read} frames of {self.topic}: {reason}; "
                "use the frames read so far, or copy or record the bag again"
            )
        if not read and self.skipped:
            causes = ", ".join(f"{count}x {cause}" for cause, count in self.skipped.items())
            raise DataError(f"none of the {len(self)} images of {self.topic} in {self.path} can be decoded: {causes}")

    def _ready(self, name: str, message: Any, truth: _Truth, decoder: PacketDecoder) -> Iterator[Frame]:
        """The frames that one more message makes complete."""
        try:
            if isinstance(message, Exception):
                raise FrameError(f"a message cannot be deserialised: {message}") from message
            if name == self.topic:
                for frame in self._frames(message, decoder):
                    yield from truth.image(frame)
            else:
                yield from truth.labels(stamp_to_ns(message.header.stamp), image_to_labels(message))
        except FrameError as error:
            self._skip(name, message, error)

    def _rest(self, truth: _Truth, decoder: PacketDecoder) -> Iterator[Frame]:
        """The frames that are left at the end of the bag: those that wait for labels come before the decoder's."""
        try:
            for decoded in decoder.rest():
                yield from truth.image(decoded.frame(self.topic))
        except FrameError as error:
            self._skip(self.topic, None, error)
        yield from truth.rest()

    def _frames(self, message: Any, decoder: PacketDecoder) -> Iterator[Frame]:
        if not is_packet(message):
            stamp_ns, frame_id = stamp_to_ns(message.header.stamp), str(message.header.frame_id)
            yield Frame(stamp_ns, image_to_rgb(message), stream=self.topic, frame_id=frame_id)
            return
        for decoded in decoder(message):
            yield decoded.frame(self.topic)
        if not decoder.began:
            raise FrameError("a keyframe was wanted to begin with, got packets that build on earlier ones")

    def _skip(self, name: str, message: Any, error: FrameError) -> None:
        what = getattr(message, "encoding", None) or getattr(message, "format", None) or "damaged message"
        cause = f"{name} {what}"
        if cause not in self.skipped:
            _LOG.warning("%s: frames are left out: %s", self.path, error)
        self.skipped[cause] = self.skipped.get(cause, 0) + 1


class _Truth:
    """Joins images and labels of equal stamps, whichever comes first, and keeps the images in order."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._images: deque[Frame] = deque()
        self._labels: OrderedDict[int, UInt8Array] = OrderedDict()

    def image(self, frame: Frame) -> Iterator[Frame]:
        """Frames that are ready once this image has come."""
        if not self._wanted:
            yield frame
            return
        self._images.append(_with_truth(frame, self._labels.pop(frame.stamp_ns, None)))
        yield from self._ready()

    def labels(self, stamp_ns: int, labels: UInt8Array) -> Iterator[Frame]:
        """Frames that are ready once these labels have come."""
        for place, frame in enumerate(self._images):
            if frame.stamp_ns == stamp_ns and frame.truth is None:
                self._images[place] = _with_truth(frame, labels)
                break
        else:
            self._labels[stamp_ns] = labels
            if len(self._labels) > _WAITING:
                self._labels.popitem(last=False)
        yield from self._ready()

    def rest(self) -> Sequence[Frame]:
        """Frames that are left at the end."""
        return tuple(self._images)

    def _ready(self) -> Iterator[Frame]:
        while self._images and (self._images[0].truth is not None or len(self._images) > _WAITING):
            yield self._images.popleft()


def _with_truth(frame: Frame, labels: UInt8Array | None) -> Frame:
    if labels is None or labels.shape != frame.size:
        return frame
    return replace(frame, truth=labels)


def _namespace(topic: str) -> str:
    return topic.rpartition("/")[0]


def _class_names(label_info: Any) -> tuple[str, ...] | None:
    """Names by id, empty where an id has none; None where no class is named."""
    names = {int(c.class_id): str(c.class_name) for c in label_info.class_map if c.class_id != UNLABELLED}
    return tuple(names.get(index, "") for index in range(max(names) + 1)) if names else None


def _chosen_topic(
    path: Path, topic: str | None, images: dict[str, Topic], topics: Sequence[Topic], truth_topic: str | None
) -> str:
    if topic is not None:
        if topic not in images:
            raise DataError(_no_topic(path, topic, topics))
        return topic
    choices = [name for name in images if name != truth_topic and not name.endswith("/compressedDepth")]
    if not choices:
        listed = ", ".join(f"{t.name} ({t.type_name})" for t in topics) or "none at all"
        raise DataError(f"{path} was wanted with images or packets of a video, but its topics are: {listed}")
    if len(choices) > 1:
        raise DataError(f"{path} has several image topics, choose one of them by topic: {', '.join(sorted(choices))}")
    return choices[0]


def _no_topic(path: Path, topic: str, topics: Sequence[Topic]) -> str:
    names = sorted(t.name for t in topics)
    close = difflib.get_close_matches(topic, names, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    listed = ", ".join(f"{t.name} ({t.type_name})" for t in sorted(topics, key=lambda t: t.name)) or "none"
    return f"{path} has no image topic {topic!r}{hint}; its topics are: {listed}"
