# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The node `segmenter` over DDS: no ROS on the one side, `SegmentApp` on the other.

It has no lifecycle, parameters and services, because those do not cross from one RMW to another: it takes its settings
when it starts, and is active from then on.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Mapping
from types import FrameType

from vss_ros.assemble import Model, load_model
from vss_ros.core.config import Settings
from vss_ros.core.frame import Frame, Segmentation
from vss_ros.data.messages import TRANSPORTS
from vss_ros.data.typestore import IMAGE, ros2_types, rosbags_image_types
from vss_ros.ros.app import SegmentApp, warm_up
from vss_ros.ros.build_only import build_only
from vss_ros.ros.cameras import camera_names
from vss_ros.ros.conversions import DiagnosticTypes, diagnostics
from vss_ros.ros.dds_channel import Channel
from vss_ros.ros.dds_discovery import granted_buffer, warn_of_small_buffer
from vss_ros.ros.dds_graph import Graph
from vss_ros.ros.dds_names import EVENTS
from vss_ros.ros.dds_transport import DdsNode
from vss_ros.ros.outputs import Legend
from vss_ros.ros.silence import Publisher, RefusalWatch

log = logging.getLogger(__name__)

DIAGNOSTIC_ARRAY = "diagnostic_msgs/msg/DiagnosticArray"
EMPTY = "std_msgs/msg/Empty"
_TICK_S = 1.0
_LONGEST_WAIT_S = 0.1  # a signal is noticed between two waits
_LOOK_S = 0.2  # for refusals; asking every endpoint after each picture would keep the worker from the interpreter


class DdsSegmenter:
    """Takes pictures from its making on, publishes labels, until it is closed.

    Args:
        settings: as a parameters file has them.
        namespace: of the node and of the topics it publishes.
        remapped: topics to subscribe to by the names that they replace, such as `image`.

    Raises:
        VssError: settings, model or network cannot be used.
    """

    def __init__(self, settings: Settings, *, namespace: str = "vss", remapped: Mapping[str, str]) -> None:
        cameras = camera_names(settings.node.cameras)
        # on the graph before the model is loaded, so that nobody has to guess whether it runs
        self._node = DdsNode("segmenter", namespace)
        self._graph = Graph(self._node.participant)
        self._refusals = RefusalWatch(self._node.full_name, overridable=False)
        self._limits = settings.diagnostics
        # one for the robot's aggregator, one beside the labels
        self._diagnostics = [
            self._node.publisher(topic, DIAGNOSTIC_ARRAY, EVENTS) for topic in ("/diagnostics", "stats")
        ]
        self._app: SegmentApp | None = None
        try:
            self._kind = TRANSPORTS[settings.node.image_transport]
            self._model = load_model(settings, alive=True)
            second_ms = warm_up(self._model.without_engines())
            self._app = SegmentApp(
                self._model, self._publish, cameras=list(cameras), max_age_ms=settings.node.max_age_ms
            )
            legend = Legend.of(self._model.card)
            points = settings.output.points
            self._channels = {
                name: Channel(self._node, name, prefix, legend, points) for name, prefix in cameras.items()
            }
            for channel in self._channels.values():
                channel.name_labels(self._model.card.labels, settings.confidence.min)
            self._app.start()
            self._subscribe(remapped)
        except BaseException:
            self.close()
            raise
        card, runtime = self._model.card, self._model.runtime.name
        log.info(
            "model '%s' on %s, %d classes, warm after %.0f ms a frame", card.name, runtime, len(card.labels), second_ms
        )

    def spin(self, ended: Callable[[], bool]) -> None:
        """Receive pictures and report once a second, until `ended` says so."""
        tick_s = look_s = time.monotonic()
        while not ended():
            now_s = time.monotonic()
            if now_s >= tick_s:
                self._tick(self._model)
                tick_s = max(tick_s + _TICK_S, now_s)
            if now_s >= look_s:
                self._say_refusals()
                look_s = now_s + _LOOK_S
            self._node.spin(_LONGEST_WAIT_S)

    def close(self) -> None:
        """Take no more pictures and leave the graph."""
        if self._app is not None:
            self._app.stop("shutdown")
        self._graph.close()
        self._node.close()

    def _subscribe(self, remapped: Mapping[str, str]) -> None:
        app = self._app
        assert app is not None
        self._node.subscribe("~/reset", EMPTY, EVENTS, lambda _: app.reset("topic"))
        for channel in self._channels.values():
            channel.subscribe(app, self._kind, remapped)
        if self._kind == IMAGE:
            warn_of_small_buffer(granted_buffer())

    def _say_refusals(self) -> None:
        """Name the nodes with which an endpoint of this node cannot speak, as soon as their names are known."""
        for refusal in self._node.refusals():
            self._refusals.add(refusal, time.monotonic())
        if not self._refusals.waits:
            return

        def on_topic(found: list[tuple[str, Publisher]]) -> Callable[[str], list[Publisher]]:
            return lambda topic: [end for name, end in found if name == topic]

        ends = on_topic(self._graph.publishers()), on_topic(self._graph.subscribers())
        for sentence in self._refusals.news(*ends, time.monotonic()):
            log.warning("%s", sentence)

    def _publish(self, frame: Frame, result: Segmentation) -> None:
        """Called in the worker's thread."""
        self._channels[result.stream].publish(frame, result)

    def _tick(self, model: Model) -> None:
        assert self._app is not None
        types = ros2_types().types
        array, status, value = (
            types[f"diagnostic_msgs/msg/{n}"] for n in ("DiagnosticArray", "DiagnosticStatus", "KeyValue")
        )
        reports = self._app.report()
        message = diagnostics(
            reports,
            node=self._node.full_name,
            state="active",
            hardware_id=f"{model.card.name} on {model.backend}",
            stamp_ns=time.time_ns(),
            limits=self._limits,
            engines=model.engine_states(),
            images=rosbags_image_types(),
            types=DiagnosticTypes(array, status, value, level=int),
        )
        for publish in self._diagnostics:
            publish(message)
        for report in reports:
            self._channels[report.camera].watch(report.received, self._graph.publishers)


def run(settings: Settings, *, namespace: str = "vss", remapped: Mapping[str, str]) -> int:
    """The node until SIGINT or SIGTERM, which end it with code 0; with `node.build_only` until there are engines."""
    if settings.node.build_only:
        return build_only(settings)
    ended = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        ended = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    node = DdsSegmenter(settings, namespace=namespace, remapped=remapped)
    try:
        node.spin(lambda: ended)
    finally:
        node.close()
    return 0
