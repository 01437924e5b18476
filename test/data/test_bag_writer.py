# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
import re

import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability, QosReliability

from test.data.full_disk import said_on_a_full_disk
from vss_ros.core.errors import DataError
from vss_ros.data.bag import BagSource
from vss_ros.data.bag_writer import BagWriter
from vss_ros.data.labels import load_labels

LABELS = np.arange(35, dtype=np.uint8).reshape(5, 7)


@pytest.fixture(params=["mcap", "sqlite3"])
def bag(request, tmp_path):
    with BagWriter(tmp_path / "out", storage=request.param) as out:
        out.write_label_info("/vss/label_info", load_labels("camvid11").names, 4_000_000_005, threshold=0.5)
        out.write_labels("/vss/labels", LABELS, 4_000_000_005, frame_id="cam")
        out.write_labels("/vss/confidence", 255 - LABELS, 4_000_000_005, frame_id="cam")
        matrix = np.array([[400.0, 0, 3], [0, 410.0, 2], [0, 0, 1]])
        out.write_camera_info("/vss/camera_info", matrix, (5, 7), 4_000_000_005, frame_id="cam")
    return tmp_path / "out"


def read(path):
    """Topic -> (message, connection, receive time), with nothing but what the bag itself says about its types."""
    with AnyReader([path]) as reader:
        return {
            link.topic: (reader.deserialize(data, link.msgtype), link, time) for link, time, data in reader.messages()
        }


def test_labels_follow_the_contract_of_their_readers(bag):
    for topic, wanted in (("/vss/labels", LABELS), ("/vss/confidence", 255 - LABELS)):
        message, _, time = read(bag)[topic]
        assert (message.encoding, message.step, message.width, message.height) == ("mono8", 7, 7, 5)
        assert message.data.tobytes() == wanted.tobytes()
        assert (message.header.stamp.sec, message.header.stamp.nanosec, time) == (4, 5, 4_000_000_005)
        assert message.header.frame_id == "cam"


def test_label_info_round_trip_and_is_latched(bag):
    message, link, _ = read(bag)["/vss/label_info"]
    assert link.msgtype == "vision_msgs/msg/LabelInfo" and message.threshold == 0.5
    pairs = [(entry.class_id, entry.class_name) for entry in message.class_map]
    assert pairs == list(enumerate(load_labels("camvid11").names))
    (qos,) = link.ext.offered_qos_profiles
    assert (qos.reliability, qos.durability) == (QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL)


def test_streams_are_offered_reliable_and_volatile(bag):
    (qos,) = read(bag)["/vss/labels"][1].ext.offered_qos_profiles
    assert (qos.reliability, qos.durability) == (QosReliability.RELIABLE, QosDurability.VOLATILE)


def test_label_info_has_the_type_hash_of_ros():
    from vss_ros.data.typestore import LABEL_INFO, VISION_CLASS, ros2_types

    fields = {name: ros2_types().fielddefs[name][1] for name in (LABEL_INFO, VISION_CLASS)}
    assert [name for name, _ in fields[LABEL_INFO]] == ["header", "class_map", "threshold"]
    assert [name for name, _ in fields[VISION_CLASS]] == ["class_id", "class_name"]
    assert ros2_types().hash_rihs01(LABEL_INFO).startswith("RIHS01_")


def test_the_metadata_is_of_a_version_humble_reads(bag):
    about = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert about["version"] == 8
    topics = about["topics_with_message_count"]
    # Humble wants QoS as one string of YAML with numbers.
    profiles = [topic["topic_metadata"]["offered_qos_profiles"] for topic in topics]
    assert all(isinstance(text, str) and isinstance(yaml.safe_load(text)[0]["durability"], int) for text in profiles)


def test_camera_info_has_the_cameras_numbers(bag):
    message, _, _ = read(bag)["/vss/camera_info"]
    assert (message.height, message.width) == (5, 7)
    assert message.k.tolist() == [400, 0, 3, 0, 410, 2, 0, 0, 1]
    assert message.p.tolist() == [400, 0, 3, 0, 0, 410, 2, 0, 0, 0, 1, 0]


def test_an_existing_path_is_never_written_over(tmp_path):
    (tmp_path / "here").mkdir()
    with pytest.raises(DataError, match="something is there; choose another path"):
        BagWriter(tmp_path / "here")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="something is there"):
        BagWriter(tmp_path / "file")


def test_an_impossible_path_and_storage_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="no bag can be created"), BagWriter(tmp_path / "file" / "bag"):
        pass
    with pytest.raises(DataError, match="mcap or sqlite3, got 'parquet'"):
        BagWriter(tmp_path / "bag", storage="parquet")


def test_labels_must_be_one_channel(tmp_path):
    with BagWriter(tmp_path / "bag") as out, pytest.raises(DataError, match=r"\(H, W\) uint8, got \(4, 4, 3\)"):
        out.write_labels("/labels", np.zeros((4, 4, 3), np.uint8), 1)


def test_an_exception_leaves_a_whole_bag(tmp_path):
    with pytest.raises(KeyboardInterrupt), BagWriter(tmp_path / "bag") as out:
        out.write_image("/image", np.zeros((4, 4, 3), np.uint8), 1)
        raise KeyboardInterrupt
    assert [frame.stamp_ns for frame in BagSource(tmp_path / "bag")] == [1]


WRITES_A_BAG = """
from vss_ros.data.bag_writer import BagWriter

path, storage, stops = sys.argv[1:]
try:
    with BagWriter(path, storage=storage) as out:
        out.write_image("/image", np.zeros((4, 4, 3), np.uint8), 1)
        fill_the_disk()
        if stops == "stops":
            raise KeyboardInterrupt
except DataError as error:
    print("error:", error, file=sys.stderr)
except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
"""


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_full_disk_at_the_end_is_one_sentence(tmp_path, storage):
    said = said_on_a_full_disk(WRITES_A_BAG, tmp_path / "bag", storage, "ends")
    assert re.fullmatch(r"error: .*bag cannot be finished: .*; check the space left on the disk\n", said), said


def test_a_full_disk_does_not_hide_what_ended_the_block(tmp_path):
    warned, ended = said_on_a_full_disk(WRITES_A_BAG, tmp_path / "bag", "mcap", "stops").splitlines()
    assert "bag cannot be finished: " in warned and ended == "interrupted"
