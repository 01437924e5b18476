# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What only the node on rclpy has: lifecycle, parameters, services. The topics are tested in test_live_faces.py."""

from __future__ import annotations

import importlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not sourced: rclpy does not import")
pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
live = importlib.import_module("test.ros.live")

pytestmark = [pytest.mark.ros, pytest.mark.timeout(120)]

STEP_NS = 100_000_000
_clock = itertools.count(1_700_000_000_000_000_007, STEP_NS)  # stamps go on from test to test


@pytest.fixture(scope="module")
def model(lmanet_folder: Path) -> Path:
    trained = Path(__file__).parents[2] / "models" / "lmanet_erfnet_camvid"
    return trained if (trained / "card.yaml").is_file() else lmanet_folder


@pytest.fixture(scope="module")
def started(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Node and tester; the node must end with code 0 on SIGINT."""
    folder = tmp_path_factory.mktemp("live")
    with live.running(folder, "-p", f"model.name:={model}", "-p", "confidence.min:=0") as node:
        labels, confidence = (node.tester.listen(live.Image, f"/vss/{name}") for name in ("labels", "confidence"))
        yield SimpleNamespace(show=None, labels=labels, confidence=confidence, model=model, **vars(node))


@pytest.fixture
def node(started: SimpleNamespace) -> SimpleNamespace:
    """The same node, active, connected and with nothing heard yet."""
    assert started.process.poll() is None, started.log.read_text()
    if started.show is None or started.tester.state != "active":
        activate(started)
    started.labels.clear()
    started.confidence.clear()
    return started


def activate(node: SimpleNamespace) -> None:
    """To the state active from any other, and until pictures get through."""
    node.tester.bring_to_active()
    node.labels.clear()
    node.show = node.tester.connect("/vss/image", lambda: live.picture(next(_clock)), node.labels)
    node.confidence.clear()


def segment(node: SimpleNamespace, **kind: Any) -> tuple[int, Any, Any]:
    """Show one picture; its stamp, labels and confidence."""
    stamp_ns = next(_clock)
    node.show(live.picture(stamp_ns, **kind))
    node.tester.until(lambda: stamp_ns in live.stamps_of(node.labels), "labels")
    node.tester.until(lambda: stamp_ns in live.stamps_of(node.confidence), "confidence")
    return stamp_ns, node.labels[-1], node.confidence[-1]


def test_memory_is_reset_by_topic_and_by_service(node):
    before = node.tester.figures()
    segment(node)
    topic = node.tester.node.create_publisher(live.Empty, "/vss/segmenter/reset", 1)
    node.tester.until(lambda: topic.get_subscription_count() > 0, "a subscriber of ~/reset")
    topic.publish(live.Empty())
    node.tester.pause(0.5)
    segment(node)
    answer = node.tester.call(live.Trigger, "/vss/segmenter/reset_memory")
    assert answer.success and "camera" in answer.message
    segment(node)
    after = node.tester.figures()
    for reason in ("resets: topic", "resets: service"):
        assert int(after[reason]) == int(before.get(reason, 0)) + 1


def _set(node: SimpleNamespace, kind: Any, **values: Any) -> Any:
    parameters = [
        live.Parameter(key.replace("__", "."), value=value).to_parameter_msg() for key, value in values.items()
    ]
    name = "set_parameters" if kind is live.SetParameters else "set_parameters_atomically"
    return node.tester.call(kind, f"/vss/segmenter/{name}", kind.Request(parameters=parameters))


def test_parameters_that_need_a_rebuild_are_read_only(node):
    (result,) = _set(node, live.SetParameters, runtime__threads=1).results
    assert not result.successful and "read-only" in result.reason


def test_the_memory_changes_its_size_while_the_node_runs(node):
    for _ in range(3):
        segment(node)
    try:
        (result,) = _set(node, live.SetParameters, memory__slots=1).results
        assert result.successful, result.reason
        for _ in range(3):
            segment(node)
        figures = node.tester.figures()
        assert figures["memory_frames"] == "1" and int(figures["resets: memory settings changed"]) == 1
        result = _set(node, live.SetParametersAtomically, memory__slots=2, memory__window=4).result
        assert not result.successful and "window" in result.reason and "4" in result.reason
        segment(node)
        assert node.tester.figures()["memory_frames"] == "1", "nothing of a refused request counts"
    finally:
        _set(node, live.SetParameters, memory__slots=-1)


def test_a_bad_value_is_rejected_with_the_reason_and_nothing_changes(node):
    (result,) = _set(node, live.SetParameters, confidence__min=1.5).results
    assert not result.successful and result.reason
    both = _set(node, live.SetParametersAtomically, confidence__min=1.0, memory__max_gap_s=-1.0).result
    assert not both.successful
    _, labels, _ = segment(node)
    assert min(labels.data) < 255, "confidence.min must have stayed 0"


def test_confidence_min_changes_live_and_label_info_follows(node):
    heard = node.tester.listen(live.LabelInfo, "/vss/label_info", live.LATCHED)
    try:
        (result,) = _set(node, live.SetParameters, confidence__min=1.0).results
        assert result.successful, result.reason
        _, labels, confidence = segment(node)
        assert all(label == 255 for label, c in zip(labels.data, confidence.data, strict=True) if c < 255)
        node.tester.until(lambda: heard and heard[-1].threshold == 1.0, "label_info with the new threshold")
    finally:
        _set(node, live.SetParameters, confidence__min=0.0)
    _, labels, _ = segment(node)
    assert max(labels.data) < 255


def test_parameters_describe_themselves(node):
    names = ["runtime.threads", "confidence.min", "runtime.backend"]
    request = live.DescribeParameters.Request(names=names)
    threads, minimum, backend = node.tester.call(
        live.DescribeParameters, "/vss/segmenter/describe_parameters", request
    ).descriptors
    assert threads.read_only and threads.integer_range[0].to_value == 256
    assert not minimum.read_only and minimum.floating_point_range[0].to_value == 1.0
    assert "onnx" in backend.additional_constraints and all(d.description for d in (threads, minimum, backend))


def test_deactivate_stops_and_activate_goes_on_with_an_empty_memory(node):
    segment(node)
    assert node.tester.change("deactivate")
    assert node.tester.node.count_subscribers("/vss/image") == 0
    node.labels.clear()
    node.tester.pause(0.3)
    assert node.labels == []
    activate(node)
    segment(node)
    assert int(node.tester.figures()["resets: deactivate"]) >= 1


def test_cleanup_frees_and_configure_builds_anew(node):
    assert node.tester.change("deactivate") and node.tester.change("cleanup")
    assert node.tester.state == "unconfigured"
    assert node.tester.node.count_publishers("/vss/labels") == 0
    assert not node.tester.call(live.Trigger, "/vss/segmenter/reset_memory").success
    activate(node)
    segment(node)


@pytest.fixture
def other_domain() -> Iterator[int]:
    saved = dict(os.environ)
    yield live.free_domain()
    os.environ.clear()
    os.environ.update(saved)


def test_a_configure_that_fails_says_why_and_can_be_repeated(other_domain, tmp_path):
    log = tmp_path / "node.log"
    process = live.start_node(other_domain, log, "-p", "model.nam:=x", "-p", "model.name:=no_such_model")
    tester = live.Driver(other_domain)
    try:
        for _ in range(2):
            assert not tester.change("configure")
            assert tester.state == "unconfigured"
        assert "did you mean 'model.name'?" in log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        tester.close()
        process.kill()
        process.wait()


def test_a_parameter_of_the_wrong_type_ends_the_start_with_one_sentence(other_domain, tmp_path):
    log = tmp_path / "node.log"
    process = live.start_node(other_domain, log, "-p", "memory.slots:=many")
    assert process.wait(timeout=60) == 1
    text = log.read_text()
    assert "memory.slots wants int, got 'many'" in text
    assert "Traceback" not in text
