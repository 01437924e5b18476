# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
import logging
from types import SimpleNamespace

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Rosbag1Writer
from rosbags.typesys import Stores, get_typestore

from test.conftest import SHARED, needs_shared_data
from test.data.moving import LIVE, encoded, moving
from vss_ros.core.errors import DataError, FrameError
from vss_ros.data.bag import BagSource
from vss_ros.data.bag_writer import BagWriter
from vss_ros.data.messages import array_to_image, ns_to_stamp
from vss_ros.data.packets import PacketDecoder
from vss_ros.data.typestore import (
    COMPRESSED_IMAGE,
    COMPRESSED_VIDEO,
    FFMPEG_PACKET,
    IMAGE,
    LABEL_INFO,
    VISION_CLASS,
    ros2_types,
    rosbags_image_types,
)

RNG = np.random.default_rng(1)
IMAGES = RNG.integers(0, 256, (12, 20, 30, 3), np.uint8)
LABELS = RNG.integers(0, 11, (12, 20, 30), np.uint8)
STAMPS = [1_700_000_000_000_000_000 + 66_666_667 * i + 1 for i in range(12)]
STORAGES = ["mcap", "sqlite3"]


@pytest.fixture(params=STORAGES)
def storage(request):
    return request.param


@pytest.fixture
def bag(tmp_path, storage):
    """Twelve images with labels."""
    with BagWriter(tmp_path / "drive", storage=storage) as out:
        for image, labels, stamp in zip(IMAGES, LABELS, STAMPS, strict=True):
            out.write_image("/camera/image_raw", image, stamp, frame_id="cam0")
            out.write_labels("/camera/labels_truth", labels, stamp)
    return tmp_path / "drive"


def test_frames_come_back_with_untouched_stamps_and_frame_ids(bag):
    source = BagSource(bag)
    frames = list(source)
    assert len(source) == 12 and source.name == "drive" and source.skipped == {}
    assert [frame.stamp_ns for frame in frames] == STAMPS
    assert {(frame.stream, frame.frame_id) for frame in frames} == {("/camera/image_raw", "cam0")}
    for frame, image, labels in zip(frames, IMAGES, LABELS, strict=True):
        np.testing.assert_array_equal(frame.image, image)
        np.testing.assert_array_equal(frame.truth, labels)


def test_a_source_can_be_read_again(bag):
    source = BagSource(bag)
    assert [f.stamp_ns for f in source] == [f.stamp_ns for f in source] == STAMPS


def test_the_storage_file_alone_is_enough(bag):
    (file,) = [f for f in bag.iterdir() if f.suffix in (".mcap", ".db3")]
    assert [frame.stamp_ns for frame in BagSource(file)] == STAMPS


def test_a_folder_whose_recorder_left_no_metadata(bag):
    (bag / "metadata.yaml").unlink()
    assert [frame.stamp_ns for frame in BagSource(bag)] == STAMPS


def test_header_stamp_counts_not_receive_time(tmp_path, storage):
    types = rosbags_image_types()
    with BagWriter(tmp_path / "late", storage=storage) as out:
        for image, stamp in zip(IMAGES[:3], STAMPS[:3], strict=True):
            out.write("/image", IMAGE, array_to_image(image, stamp, "", types=types), stamp + 10**9)
    assert [frame.stamp_ns for frame in BagSource(tmp_path / "late")] == STAMPS[:3]


@pytest.mark.parametrize("order", ["labels first", "labels late", "labels of every other", "labels far away"])
def test_labels_find_their_image_by_stamp(tmp_path, order):
    with BagWriter(tmp_path / "bag") as out:
        time = iter(range(10**9, 10**12))
        types = rosbags_image_types()

        def image(i):
            out.write("/image", IMAGE, array_to_image(IMAGES[i], STAMPS[i], "", types=types), next(time))

        def labels(i):
            out.write("/x/labels_truth", IMAGE, array_to_image(LABELS[i], STAMPS[i], "", types=types), next(time))

        for i in range(12):
            if order == "labels first":
                labels(i)
                image(i)
            elif order == "labels late":
                image(i)
                if i >= 3:
                    labels(i - 3)
            elif order == "labels of every other":
                image(i)
                if i % 2:
                    labels(i)
            else:
                image(i)
        if order == "labels far away":
            for i in range(12):
                labels(i)
    source = BagSource(tmp_path / "bag")
    frames = list(source)
    assert source.topic == "/image" and source.truth_topic == "/x/labels_truth"
    assert [frame.stamp_ns for frame in frames] == STAMPS
    known = [i for i, frame in enumerate(frames) if frame.truth is not None]
    wanted = {
        "labels first": list(range(12)),
        "labels late": list(range(9)),
        "labels of every other": list(range(1, 12, 2)),
        "labels far away": list(range(4, 12)),  # what waits is bounded
    }[order]
    assert known == wanted
    for i in known:
        np.testing.assert_array_equal(frames[i].truth, LABELS[i])


@pytest.mark.parametrize("late", [0, 1])
def test_truth_that_no_image_meets_is_said(tmp_path, caplog, late):
    with BagWriter(tmp_path / "bag") as out:
        out.write_image("/image", IMAGES[0], 1)
        out.write_labels("/labels", LABELS[0], 1 + late)
    with caplog.at_level(logging.WARNING):
        (frame,) = BagSource(tmp_path / "bag", truth_topic="/labels")
    assert (frame.truth is None) == ("no image of /image has a label" in caplog.text) == bool(late)


def test_labels_of_another_size_are_no_truth(tmp_path):
    with BagWriter(tmp_path / "bag") as out:
        out.write_image("/image", IMAGES[0], 1)
        out.write_labels("/labels_truth", LABELS[0, :10], 1)
    assert [frame.truth for frame in BagSource(tmp_path / "bag")] == [None]


CAMVID, CITY, OWN = ("/camera/label_info", ["sky", "building"]), ("/vss/label_info", ["road"]), ("/camera/mine", ["a"])


@pytest.mark.parametrize(
    ("infos", "classes"),
    [([CAMVID, CITY], ("sky", "building")), ([CITY], None), ([CAMVID, OWN], None), ([], None)],
    ids=["beside", "elsewhere", "two beside", "none"],
)
def test_the_label_info_beside_the_truth_names_its_classes(tmp_path, storage, infos, classes):
    with BagWriter(tmp_path / "bag", storage=storage) as out:
        out.write_image("/camera/image", IMAGES[0], 1)
        out.write_labels("/camera/labels_truth", LABELS[0], 1)
        for topic, names in infos:
            out.write_label_info(topic, names, 1)
    assert BagSource(tmp_path / "bag").classes == classes
    assert BagSource(tmp_path / "bag", topic="/camera/labels_truth").classes is None, "without truth"


def test_a_label_info_need_not_be_in_order_or_whole(tmp_path):
    types = ros2_types().types
    header = types["std_msgs/msg/Header"](stamp=types["builtin_interfaces/msg/Time"](sec=0, nanosec=1), frame_id="")
    named = [types[VISION_CLASS](class_id=i, class_name=name) for i, name in ((3, "sky"), (255, "void"), (1, "road"))]
    with BagWriter(tmp_path / "bag") as out:
        out.write_image("/image", IMAGES[0], 1)
        out.write_labels("/labels_truth", LABELS[0], 1)
        out.write("/info", LABEL_INFO, types[LABEL_INFO](header=header, class_map=named, threshold=0.0), 1)
    assert BagSource(tmp_path / "bag").classes == ("", "road", "", "sky")


def test_jpeg_topics_and_choosing_among_several(tmp_path, storage):
    with BagWriter(tmp_path / "two", storage=storage) as out:
        out.write_image("/left/image_raw", IMAGES[0], 1)
        out.write_jpeg("/right/image_raw/compressed", np.full((20, 30, 3), (10, 200, 90), np.uint8), 2)
    with pytest.raises(DataError, match=r"several image topics.*: /left/image_raw, /right/image_raw/compressed$"):
        BagSource(tmp_path / "two")
    (frame,) = BagSource(tmp_path / "two", topic="/right/image_raw/compressed")
    assert frame.stamp_ns == 2 and np.abs(frame.image[5, 5].astype(int) - [10, 200, 90]).max() < 5


def test_an_unknown_topic_names_the_nearest_and_all(bag):
    with pytest.raises(DataError, match=r"'/camera/image'; did you mean '/camera/image_raw'.*/camera/labels_truth \("):
        BagSource(bag, topic="/camera/image")
    with pytest.raises(DataError, match="'/truth'"):
        BagSource(bag, truth_topic="/truth")


def test_a_bag_without_images_lists_what_it_has(tmp_path, storage):
    with BagWriter(tmp_path / "bag", storage=storage) as out:
        out.write_label_info("/label_info", ["a"], 1)
    with pytest.raises(DataError, match=r"/label_info \(vision_msgs/msg/LabelInfo\)"):
        BagSource(tmp_path / "bag")


def test_a_missing_path_is_said(tmp_path):
    with pytest.raises(DataError, match="nothing is there"):
        BagSource(tmp_path / "none")


def test_an_empty_bag_has_no_frames(tmp_path, storage):
    with BagWriter(tmp_path / "bag", storage=storage):
        pass
    with pytest.raises(DataError, match="its topics are: none at all"):
        BagSource(tmp_path / "bag")


def test_undecodable_images_are_counted_by_cause_and_logged_once(tmp_path, storage, caplog):
    types, store = rosbags_image_types(), ros2_types()
    with BagWriter(tmp_path / "bag", storage=storage) as out:
        for i in range(9):
            msg = array_to_image(IMAGES[0], STAMPS[i], "", types=types)
            if i % 3 == 1:
                msg.encoding = "16UC1"
            if i % 3 == 2:
                msg.data = msg.data[:99]
            out.write("/image", IMAGE, msg, STAMPS[i])
    assert IMAGE in store.types
    source = BagSource(tmp_path / "bag")
    with caplog.at_level(logging.WARNING):
        stamps = [frame.stamp_ns for frame in source]
    assert stamps == STAMPS[0:9:3] and len(source) == 9
    assert source.skipped == {"/image 16UC1": 3, "/image rgb8": 3}
    assert len(caplog.records) == 2 and "16UC1" in caplog.text
    list(source)
    assert source.skipped == {"/image 16UC1": 3, "/image rgb8": 3}


def test_a_bag_of_which_nothing_decodes_is_an_error(tmp_path):
    with BagWriter(tmp_path / "bag") as out:
        types = ros2_types().types
        stamp = types["builtin_interfaces/msg/Time"](sec=0, nanosec=1)
        header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="")
        msg = types[COMPRESSED_IMAGE](header=header, format="h264", data=np.zeros(40, np.uint8))
        out.write("/image/compressed", COMPRESSED_IMAGE, msg, 1)
    with pytest.raises(DataError, match=r"none of the 1 images.*1x /image/compressed h264"):
        list(BagSource(tmp_path / "bag"))


def test_a_message_of_damaged_bytes_is_left_out(tmp_path, monkeypatch):
    from vss_ros.data import bag_writer

    real = ros2_types()
    calls = iter(range(100))

    def cut(message, kind):
        data = bytes(real.serialize_cdr(message, kind))
        return data[:30] if next(calls) == 1 else data

    store = SimpleNamespace(
        types=real.types,
        serialize_cdr=cut,
        generate_msgdef=real.generate_msgdef,
        hash_rihs01=real.hash_rihs01,
    )
    monkeypatch.setattr(bag_writer, "ros2_types", lambda: store)
    with BagWriter(tmp_path / "bag") as out:
        for i in range(3):
            out.write_image("/image", IMAGES[i], STAMPS[i])
    source = BagSource(tmp_path / "bag")
    assert [frame.stamp_ns for frame in source] == [STAMPS[0], STAMPS[2]]
    assert source.skipped == {"/image damaged message": 1}


def video_message(kind, packet, number):
    """One packet as a message of that type."""
    types = ros2_types().types
    stamp = ns_to_stamp(STAMPS[number], rosbags_image_types())
    header, data = types["std_msgs/msg/Header"](stamp=stamp, frame_id="cam0"), np.frombuffer(packet, np.uint8)
    if kind == COMPRESSED_IMAGE:
        return types[kind](header=header, format="h264", data=data)
    if kind == COMPRESSED_VIDEO:
        return types[kind](timestamp=stamp, frame_id="cam0", data=data, format="h264")
    return types[kind](
        header=header, width=256, height=192, encoding="libx264", pts=number, flags=0, is_bigendian=False, data=data
    )


@pytest.mark.parametrize("kind", [COMPRESSED_IMAGE, FFMPEG_PACKET, COMPRESSED_VIDEO])
@pytest.mark.parametrize("begin", [0, 2])
def test_a_video_topic_is_decoded_from_its_first_keyframe_on(tmp_path, kind, begin):
    images = moving(12, 8)
    with BagWriter(tmp_path / "bag") as out:
        for number, packet in enumerate(encoded(images, g="6", **LIVE)):
            if number >= begin:
                out.write("/camera/video", kind, video_message(kind, packet, number), STAMPS[number])
    first = 0 if begin == 0 else 6
    for motion in (False, True):
        source = BagSource(tmp_path / "bag", motion=motion)
        frames = list(source)
        assert [frame.stamp_ns for frame in frames] == STAMPS[first:] and len(source) == 12 - begin
        assert {(frame.stream, frame.frame_id) for frame in frames} == {("/camera/video", "cam0")}
        assert sum(source.skipped.values()) == first - begin if begin else not source.skipped
        for frame, image in zip(frames, images[first:], strict=True):
            assert np.abs(frame.image.astype(int) - image).mean() < 12
            assert (frame.motion is not None) == motion
    assert np.nanmedian(frames[1].motion[..., 0]) == -8


@pytest.mark.parametrize("with_truth", [False, True])
def test_the_last_pictures_of_a_video_with_b_pictures_come_too(tmp_path, with_truth):
    images, shown_as = moving(12, 8), [0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 11, 10]
    packets = encoded(images, preset="veryfast", bf="2", **{"x264-params": "b-adapt=0"})
    labels = np.arange(12, dtype=np.uint8)[:, None, None] + np.zeros((192, 256), np.uint8)
    with BagWriter(tmp_path / "bag") as out:
        for index, (number, packet) in enumerate(zip(shown_as, packets, strict=True)):
            out.write("/video", COMPRESSED_VIDEO, video_message(COMPRESSED_VIDEO, packet, number), STAMPS[index])
            if with_truth and index != 9:
                out.write_labels("/labels_truth", labels[index], STAMPS[index])
    frames = list(BagSource(tmp_path / "bag"))
    assert [frame.stamp_ns for frame in frames] == STAMPS
    known = [None if frame.truth is None else int(frame.truth[0, 0]) for frame in frames]
    assert known == ([*range(9), None, 10, 11] if with_truth else [None] * 12)
    for frame, image in zip(frames, images, strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 12


def test_damaged_last_pictures_are_counted(tmp_path, monkeypatch):
    def fail(decoder):
        raise FrameError("damaged")

    monkeypatch.setattr(PacketDecoder, "rest", fail)
    with BagWriter(tmp_path / "bag") as out:
        packet = encoded(moving(1, 8), **LIVE)[0]
        out.write("/video", COMPRESSED_VIDEO, video_message(COMPRESSED_VIDEO, packet, 0), STAMPS[0])
    source = BagSource(tmp_path / "bag")
    assert len(list(source)) == 1 and source.skipped == {"/video damaged message": 1}


def test_a_video_of_another_codec_is_left_out(tmp_path):
    with BagWriter(tmp_path / "bag") as out:
        message = video_message(COMPRESSED_VIDEO, b"1234", 0)
        message.format = "av1"
        out.write("/video", COMPRESSED_VIDEO, message, STAMPS[0])
    with pytest.raises(DataError, match="1x /video av1"):
        list(BagSource(tmp_path / "bag"))


def test_rosbag1_is_read_too(tmp_path):
    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types
    with Rosbag1Writer(tmp_path / "old.bag") as out:
        link = out.add_connection("/cam", IMAGE, typestore=store)
        for i in range(3):
            time = types["builtin_interfaces/msg/Time"](sec=5 + i, nanosec=7)
            header = types["std_msgs/msg/Header"](seq=i, stamp=time, frame_id="old")
            msg = types[IMAGE](
                header=header,
                height=20,
                width=30,
                encoding="bgr8",
                is_bigendian=0,
                step=90,
                data=np.ascontiguousarray(IMAGES[i][..., ::-1]).reshape(-1),
            )
            out.write(link, 10**9, store.serialize_ros1(msg, IMAGE))
    frames = list(BagSource(tmp_path / "old.bag"))
    assert [(f.stamp_ns, f.frame_id) for f in frames] == [(5 * 10**9 + i * 10**9 + 7, "old") for i in range(3)]
    np.testing.assert_array_equal(frames[2].image, IMAGES[2])


@needs_shared_data
def test_a_real_recording():
    source = BagSource(SHARED / "bags" / "kitti_91f_10hz")
    frames = iter(source)
    first, second = next(frames), next(frames)
    assert len(source) == 91 and source.topic == "/camera/image_raw/compressed"
    assert first.size == (375, 1242) and second.stamp_ns - first.stamp_ns == 100_000_000
