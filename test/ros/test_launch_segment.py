# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The launch files, started with `ros2 launch` as users do. Skipped where ROS 2 is absent."""

from __future__ import annotations

import importlib
import itertools
import os
import runpy
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vss_ros.core.config import declarations
from vss_ros.data.messages import array_to_jpeg
from vss_ros.ros.points import INPUTS

pytest.importorskip("rclpy", reason="ROS 2 is not sourced: rclpy does not import")
pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
if shutil.which("ros2") is None:
    pytest.skip("the ros2 command is not installed", allow_module_level=True)
live = importlib.import_module("test.ros.live")
CameraInfo = importlib.import_module("sensor_msgs.msg").CameraInfo
TYPES = importlib.import_module("vss_ros.ros.rclpy_types").IMAGES

pytestmark = [pytest.mark.ros, pytest.mark.timeout(120)]

NOT_GIVEN = {"cameras": "", "image_topic": "", "camera_info_topic": "", "points_topic": "", "namespace": "vss"}
FIRST_NS, STEP_NS = 1_700_000_000_000_000_000, 100_000_000
TOPIC = "/camera/image_raw/compressed"


@pytest.fixture
def ros(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """`launch(file, arguments)` in a domain of its own; what was started is ended."""
    saved, started = dict(os.environ), list[Any]()
    domain, prefix, log = live.free_domain(), tmp_path / "install", tmp_path / "launch.log"
    live.install(prefix)

    def launch(file: str, *arguments: str) -> Any:
        started.append(live.ros2(domain, prefix, log, "launch", "vss_ros", file, *arguments))
        return started[-1]

    yield SimpleNamespace(launch=launch, domain=domain, log=log, folder=tmp_path)
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    os.environ.clear()
    os.environ.update(saved)


def jpeg(stamp_ns: int) -> Any:
    pixels = np.random.default_rng(stamp_ns).integers(0, 256, (12, 20, 3), np.uint8)
    return array_to_jpeg(pixels.repeat(6, 0).repeat(6, 1), stamp_ns, "cam_optical", types=TYPES)


@pytest.mark.parametrize("file", ["segment.launch.py", "replay.launch.py"])
def test_every_argument_is_declared_at_the_top_with_its_meaning(ros, file):
    assert ros.launch(file, "--show-args").wait(timeout=60) == 0
    shown = ros.log.read_text()
    names = "model memory_slots memory_window cameras image_topic camera_info_topic image_transport backend output_size"
    for name in [
        *names.split(),
        "params_file",
        "namespace",
        "use_sim_time",
        "autostart",
        "log_level",
        "rviz",
        "points",
        "points_topic",
        "input_size",
        "build_only",
        "motion_source",
        "keyframe_every",
    ]:
        only_live = "input_size", "build_only", "motion_source", "keyframe_every"
        assert f"'{name}':" in shown or (file.startswith("replay") and name in only_live)
    assert "No description given" not in shown
    backend = next(declared for declared in declarations() if declared.key == "runtime.backend")
    assert backend.says in shown, "the texts are those of the settings"


@pytest.mark.parametrize(
    ("given", "infos"),
    [
        ({"image_topic": "/camera/image_raw"}, ["/camera/camera_info"]),
        ({"image_topic": TOPIC}, ["/camera/camera_info"]),
        ({"image_topic": "/camera/image_raw/ffmpeg"}, ["/camera/camera_info"]),
        ({"image_topic": "/camera/image_raw/foxglove"}, ["/camera/camera_info"]),
        ({"image_topic": "/image_raw"}, ["/camera_info"]),
        ({"image_topic": "/camera/image_raw", "camera_info_topic": "/other/camera_info"}, ["/other/camera_info"]),
        ({"cameras": "a,b", "image_topic": "/a/image_raw,/b/image_raw"}, ["/a/camera_info", "/b/camera_info"]),
        ({"cameras": "a,b", "image_topic": "/image_a,/image_b"}, []),
        ({"image_topic": "/vss/image"}, []),
        ({"image_topic": "/image_raw", "namespace": "/"}, []),
        ({"image_topic": "image"}, []),
        ({}, []),
    ],
)
def test_camera_info_is_looked_for_beside_the_pictures(given, infos):
    remappings = runpy.run_path(str(live.ROOT / "launch" / "segment.launch.py"))["_remappings"]
    made = remappings(NOT_GIVEN | given)
    assert [topic for name, topic in made if name.endswith("camera_info_in")] == infos
    assert [topic for name, topic in made if name.endswith("image")] == [
        topic for topic in given.get("image_topic", "").split(",") if topic
    ]
    with pytest.raises(ValueError, match="camera_info_topic wants 1 topics for camera_info_in, got 2: /a, /b"):
        remappings(NOT_GIVEN | {"camera_info_topic": "/a,/b"})


def test_points_come_from_one_topic_for_each_camera():
    remappings = runpy.run_path(str(live.ROOT / "launch" / "segment.launch.py"))["_remappings"]
    made = remappings(NOT_GIVEN | {"cameras": "a,b", "points_topic": "/a/depth,/b/depth"})
    for name in INPUTS.values():
        assert [topic for other, topic in made if other.endswith(f"/{name}")] == ["/a/depth", "/b/depth"]
    with pytest.raises(ValueError, match="points_topic wants 1 topics for depth_in, got 2: /a, /b"):
        remappings(NOT_GIVEN | {"points_topic": "/a,/b"})


@pytest.mark.parametrize(
    ("namespace", "cameras", "prefix"),
    [
        ("vss", "", "/vss/"),
        ("/fleet/robot1/", "", "/fleet/robot1/"),
        ("", "", "/"),
        ("vss", "front, rear", "/vss/front/"),
        ("/", "front", "/front/"),
    ],
)
def test_the_topics_of_rviz_follow_namespace_and_camera(namespace, cameras, prefix):
    moved = runpy.run_path(str(live.ROOT / "launch" / "segment.launch.py"))["_moved"]
    layout = (live.ROOT / "config" / "vss.rviz").read_text(encoding="utf-8")
    made = moved(layout, namespace, cameras)
    names = ["overlay", "labels", "confidence", "points"]
    assert made == ([] if prefix == "/vss/" else [(f"/vss/{name}", prefix + name) for name in names])


def test_rviz_is_started_where_it_is_installed(ros):
    """A stand-in for rviz2, which writes down how it was started."""
    prefix = ros.folder / "install"
    marker = prefix / "share" / "ament_index" / "resource_index" / "packages" / "rviz2"
    script = prefix / "lib" / "rviz2" / "rviz2"
    script.parent.mkdir(parents=True)
    marker.touch()
    script.write_text("#!/usr/bin/env python3\nimport sys\nprint('rviz2 got', *sys.argv[1:], flush=True)\n")
    script.chmod(0o755)
    ros.launch("segment.launch.py", "rviz:=true", "autostart:=false", "namespace:=robot", "cameras:=front,rear")
    said = said_by(ros, "rviz2 got")
    layout = said.split("-d ")[1].split()[0]
    assert Path(layout).name == "vss.rviz" and Path(layout).is_file()
    assert "-r __node:=vss_rviz" in said and "-r /vss/points:=/robot/front/points" in said


@pytest.mark.skipif("rviz2" in live.get_packages_with_prefixes(), reason="rviz2 is installed, and would open a window")
def test_without_rviz_the_node_runs_and_the_log_says_how_to_get_it(ros, single_folder):
    ros.launch("segment.launch.py", "rviz:=true", f"model:={single_folder}")
    assert "apt install ros-" in said_by(ros, "rviz:=true wants the package rviz2")
    said_by(ros, "waiting for Image")


def test_engines_alone_are_built_and_the_exit_code_says_that_they_were_not(ros, single_folder):
    """There is no TensorRT here; the node that builds ends by itself, and the launch with it."""
    arguments = ["build_only:=true", "backend:=tensorrt", "input_size:=96x64", f"model:={single_folder}"]
    process = ros.launch("segment.launch.py", *arguments)
    assert process.wait(timeout=60) == 1, ros.log.read_text()
    said = ros.log.read_text()
    assert "backend 'tensorrt' wants" in said
    assert "no engines were built, exit code 1; the node's own message says why" in said
    assert "configured" not in said, "it is never brought to work"


def said_by(ros: SimpleNamespace, text: str) -> str:
    """The line of the launch's log with that text, waited for."""
    deadline = time.monotonic() + live.PATIENCE_S
    while not (found := [line for line in ros.log.read_text().splitlines() if text in line]):
        assert time.monotonic() < deadline, f"'{text}' was never said:\n{ros.log.read_text()}"
        time.sleep(0.1)
    return found[0]


def test_pictures_in_labels_out_and_a_clean_end(ros, lmanet_folder):
    process = ros.launch(
        "segment.launch.py", f"model:={lmanet_folder}", f"image_topic:={TOPIC}", "image_transport:=compressed"
    )
    driver = live.Driver(ros.domain)
    try:
        labels, confidence = (driver.listen(live.Image, f"/vss/{name}") for name in ("labels", "confidence"))
        infos = driver.listen(CameraInfo, "/vss/camera_info")
        names = driver.listen(live.LabelInfo, "/vss/label_info", live.LATCHED)
        clock = itertools.count(FIRST_NS, STEP_NS)
        show = driver.connect(TOPIC, lambda: jpeg(next(clock)), labels)
        confidence.clear()
        stamps = [next(clock) for _ in range(3)]
        for index, stamp_ns in enumerate(stamps):
            show(jpeg(stamp_ns))
            driver.until(lambda wanted=index + 1: len(labels) >= wanted and len(confidence) >= wanted, "labels")
        assert live.stamps_of(labels) == live.stamps_of(confidence) == stamps
        assert {(m.encoding, m.height, m.width, m.step, m.header.frame_id) for m in labels} == {
            ("mono8", 72, 120, 120, "cam_optical")
        }
        driver.until(lambda: names, "label_info")
        camera = driver.node.create_publisher(CameraInfo, "/camera/camera_info", live.RELIABLE)  # beside the pictures
        for _ in range(60):  # again and again: what comes before both ends have found each other is lost
            camera.publish(CameraInfo(height=72, width=120))
            driver.pause(0.1)
            show(jpeg(next(clock)))
            driver.pause(0.3)
            if infos:
                break
        assert infos and (infos[0].height, infos[0].width) == (72, 120)
        assert live.stamps_of(infos)[0] in live.stamps_of(labels)
        assert driver.state == "active"
    finally:
        driver.close()
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does: launch and node get it both
    assert process.wait(timeout=30) == 0, ros.log.read_text()
    said = ros.log.read_text()
    assert "process has finished cleanly" in said and "Traceback" not in said, said


def test_without_autostart_the_node_waits_and_log_level_is_its_own(ros, lmanet_folder):
    arguments = ["autostart:=false", "namespace:=/fleet/robot1", "log_level:=error"]
    ros.launch("segment.launch.py", f"model:={lmanet_folder}", *arguments)
    driver = live.Driver(ros.domain, node="/fleet/robot1/segmenter")
    try:
        assert driver.state == "unconfigured"
        assert driver.change("configure")
        assert driver.state == "inactive"
        assert "[fleet.robot1.segmenter]" not in ros.log.read_text(), "what the node says on configure is not an error"
    finally:
        driver.close()


def test_two_cameras_have_topics_of_their_own(ros, lmanet_folder):
    topics = {"left": "/rig/left/image_raw", "right": "/rig/right/image_raw"}
    ros.launch(
        "segment.launch.py",
        f"model:={lmanet_folder}",
        "cameras:=left,right",
        f"image_topic:={','.join(topics.values())}",
    )
    driver = live.Driver(ros.domain)
    try:
        labels = {camera: driver.listen(live.Image, f"/vss/{camera}/labels") for camera in topics}
        clock = itertools.count(FIRST_NS, STEP_NS)
        for camera, topic in topics.items():
            show = driver.connect(topic, lambda: live.picture(next(clock)), labels[camera])
            show(live.picture(stamp_ns := next(clock)))
            driver.until(lambda heard=labels[camera]: heard, f"labels of {camera}")
            assert live.stamps_of(labels[camera]) == [stamp_ns]
            others = [heard for other, heard in labels.items() if other != camera]
            assert others == [[]], "labels of one camera come on its own topic only"
            labels[camera].clear()
    finally:
        driver.close()


def write_bag(folder: Path, frames: int) -> None:
    rosbags = pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed")
    typesys = pytest.importorskip("rosbags.typesys")
    from rclpy.serialization import serialize_message

    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    with rosbags.Writer(folder, version=8) as bag:
        connection = bag.add_connection(TOPIC, "sensor_msgs/msg/CompressedImage", typestore=store)
        for index in range(frames):
            stamp_ns = FIRST_NS + index * STEP_NS
            bag.write(connection, stamp_ns, serialize_message(jpeg(stamp_ns)))


def read_stamps(folder: Path) -> dict[str, list[int]]:
    """Stamps by topic, as rosbag2 wrote them."""
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    found: dict[str, list[int]] = {}
    with AnyReader([folder], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as bag:
        for connection, _, raw in bag.messages():
            found.setdefault(connection.topic, []).append(int.from_bytes(raw[4:8], "little") * 10**9)
            found[connection.topic][-1] += int.from_bytes(raw[8:12], "little")
    return found


@pytest.mark.skipif(
    subprocess.run(["ros2", "bag", "--help"], capture_output=True).returncode != 0 if shutil.which("ros2") else True,
    reason="rosbag2 is not installed",
)
def test_a_bag_is_replayed_and_its_labels_are_recorded(ros, lmanet_folder):
    write_bag(ros.folder / "drive", frames=20)
    process = ros.launch(
        "replay.launch.py",
        f"bag:={ros.folder / 'drive'}",
        f"record:={ros.folder / 'labels'}",
        f"model:={lmanet_folder}",
        f"image_topic:={TOPIC}",
        "image_transport:=compressed",
    )
    assert process.wait(timeout=90) == 0, ros.log.read_text()
    stamps = read_stamps(ros.folder / "labels")
    sent = {FIRST_NS + index * STEP_NS for index in range(20)}
    assert len(stamps["/vss/labels"]) >= 5 and set(stamps["/vss/labels"]) <= sent
    assert stamps["/vss/labels"] == sorted(set(stamps["/vss/labels"]))
    assert stamps["/vss/confidence"] == stamps["/vss/labels"]
    assert len(stamps["/vss/label_info"]) == 1, "recorded although it was published before the first label"
