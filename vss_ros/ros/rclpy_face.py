# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The lifecycle node `segmenter`: ROS on the one side, `SegmentApp` on the other, nothing of its own between."""

from __future__ import annotations

import logging
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from vss_ros.assemble import Model, load_model, stream_options
from vss_ros.core.config import Settings, declarations
from vss_ros.core.errors import ConfigError, VssError
from vss_ros.core.frame import Segmentation
from vss_ros.ros.app import SegmentApp, warm_up
from vss_ros.ros.conversions import diagnostics, label_images, label_info
from vss_ros.ros.parameters import declare_settings, settings_of
from vss_ros.ros.rclpy_types import (
    DIAGNOSTICS,
    IMAGES,
    LABELS,
    LATCHED,
    NEWEST,
    POLICIES,
    RESULT,
    explain_silence,
    fresh,
)
from vss_ros.ros.ros_logging import forward_logs
from vss_ros.ros.silence import SilenceWatch

log = logging.getLogger("vss_ros.ros.rclpy_face")  # __name__ is __main__ under python -m

Transition = Callable[["SegmenterNode", LifecycleState], TransitionCallbackReturn]


def _guarded(transition: Transition) -> Transition:
    """A transition that fails with one sentence instead of an exception, which rclpy would swallow."""

    @wraps(transition)
    def guarded(node: SegmenterNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except VssError as error:
            log.error("%s", error)
        except Exception:
            log.exception("%s failed", transition.__name__)
        return TransitionCallbackReturn.FAILURE

    return guarded


@dataclass
class _Channel:
    """The topics of one camera; what is subscribed exists only while the node is active."""

    labels: Any
    confidence: Any
    label_info: Any
    image: Any = None
    silence: SilenceWatch | None = None


class SegmenterNode(LifecycleNode):
    """Subscribes to pictures, publishes labels; every transition can be undone and repeated."""

    def __init__(self, **options: Any) -> None:
        super().__init__("segmenter", **options)
        self._log_handler = forward_logs(self.get_logger())
        self._phase = "unconfigured"
        self._model: Model | None = None
        self._app: SegmentApp | None = None
        self._channels: dict[str, _Channel] = {}
        declare_settings(self)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_subscription(Empty, "~/reset", self._on_reset, 10)
        self.create_service(Trigger, "~/reset_memory", self._on_reset_memory)
        # a clock that runs on while simulated time stands still
        self.create_timer(1.0, self._on_tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    # Transitions

    @_guarded
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Card, weights, runtime and a warm-up."""
        try:
            settings = settings_of(self)
            cameras = camera_names(settings.node.cameras)
            self._model = load_model(settings)
            second_ms = warm_up(self._model)
            self._app = SegmentApp(
                self._model,
                self._publish,
                cameras=list(cameras),
                max_age_ms=settings.node.max_age_ms,
                now_ns=self._now_ns,
            )
            self._channels = {name: self._channel(prefix) for name, prefix in cameras.items()}
        except Exception:
            self._release()
            raise
        if LABELS is None:
            log.warning("class names are not published: vision_msgs does not import; install ros-<distro>-vision-msgs")
        card, runtime = self._model.card, self._model.runtime.name
        log.info(
            "model '%s' on %s, %d classes, warm after %.0f ms a frame", card.name, runtime, len(card.labels), second_ms
        )
        self._phase = "inactive"
        return super().on_configure(state)

    @_guarded
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publish the class names, then take pictures."""
        app, settings = self._app, settings_of(self)
        assert app is not None, "activate follows configure"
        done = super().on_activate(state)
        try:
            self._publish_label_info(settings)
            app.start()
            kind = CompressedImage if settings.node.image_transport == "compressed" else Image
            for (camera, prefix), channel in zip(
                camera_names(settings.node.cameras).items(), self._channels.values(), strict=True
            ):
                channel.silence = SilenceWatch(time.monotonic())
                channel.image = self.create_subscription(
                    kind,
                    f"{prefix}image",
                    partial(app.offer, camera),
                    fresh(NEWEST),
                    qos_overriding_options=QoSOverridingOptions(POLICIES),
                )
                log.info("waiting for %s on %s", kind.__name__, channel.image.topic_name)
        except Exception:
            self._unsubscribe()
            app.stop()
            super().on_deactivate(state)
            raise
        self._phase = "active"
        return done

    @_guarded
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take no more pictures; model and memory stay allocated, what was remembered is forgotten."""
        self._unsubscribe()
        if self._app is not None:
            self._app.stop()
        self._phase = "inactive"
        return super().on_deactivate(state)

    @_guarded
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free model, memory and topics."""
        self._release()
        return super().on_cleanup(state)

    @_guarded
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The same from any state."""
        self._release()
        self._phase = "finalized"
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to the start, so that another configure can be tried."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def _release(self) -> None:
        self._unsubscribe()
        if self._app is not None:
            self._app.stop()
        for channel in self._channels.values():
            for publisher in (channel.labels, channel.confidence, channel.label_info):
                if publisher is not None:
                    self.destroy_lifecycle_publisher(publisher)
        self._channels, self._app, self._model = {}, None, None
        self._phase = "unconfigured"

    def close(self) -> None:
        """End of the process: no transition, just no loose ends."""
        if self._app is not None:
            self._app.stop()
        logging.getLogger("vss_ros").removeHandler(self._log_handler)
        self.destroy_node()

    # Topics

    def _channel(self, prefix: str) -> _Channel:
        publisher = partial(self._publisher, prefix)
        info = None if LABELS is None else publisher(LABELS.label_info, "label_info", LATCHED)
        return _Channel(publisher(Image, "labels", RESULT), publisher(Image, "confidence", RESULT), info)

    def _publisher(self, prefix: str, kind: Any, name: str, qos: QoSProfile) -> Any:
        overriding = QoSOverridingOptions(POLICIES)
        return self.create_lifecycle_publisher(kind, prefix + name, fresh(qos), qos_overriding_options=overriding)

    def _unsubscribe(self) -> None:
        for channel in self._channels.values():
            if channel.image is not None:
                self.destroy_subscription(channel.image)
                channel.image = None

    def _publish(self, result: Segmentation) -> None:
        """Called in the worker's thread."""
        channel = self._channels[result.stream]
        labels, confidence = label_images(result, IMAGES)
        try:
            channel.labels.publish(labels)
            channel.confidence.publish(confidence)
        except Exception:
            if self.context.ok():  # else the process is ending, and the frame with it
                raise

    def _publish_label_info(self, settings: Settings) -> None:
        if LABELS is None or self._model is None:
            return
        names = self._model.card.labels
        message = label_info(names, settings.confidence.min, self._now_ns(), IMAGES, LABELS)
        for channel in self._channels.values():
            channel.label_info.publish(message)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    # Requests

    def _on_parameters(self, parameters: Sequence[Any]) -> SetParametersResult:
        known = {declared.key for declared in declarations()}
        changes = {parameter.name: parameter.value for parameter in parameters if parameter.name in known}
        if not changes:
            return SetParametersResult(successful=True)
        try:
            settings = settings_of(self, changes)
            if self._app is not None and self._model is not None:
                self._app.tune(stream_options(self._model.card, settings), settings.node.max_age_ms)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if "confidence.min" in changes and self._phase == "active":
            self._publish_label_info(settings)
        return SetParametersResult(successful=True)

    def _on_reset(self, _: Empty) -> None:
        if self._app is not None:
            self._app.reset("topic")

    def _on_reset_memory(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._app is not None
        response.message = "there is no memory before configure; configure the node first"
        if self._app is not None:
            self._app.reset("service")
            response.message = f"the next frame starts with an empty memory ({', '.join(self._channels)})"
        return response

    def _on_tick(self) -> None:
        reports = () if self._app is None else self._app.report()
        model = "" if self._model is None else f"{self._model.card.name} on {self._model.runtime.name}"
        message = diagnostics(
            reports,
            node=self.get_fully_qualified_name(),
            state=self._phase,
            hardware_id=model,
            stamp_ns=self._now_ns(),
            images=IMAGES,
            types=DIAGNOSTICS,
        )
        self._diagnostics.publish(message)
        for report in reports:
            channel = self._channels[report.camera]
            if channel.image is None or channel.silence is None:
                continue
            if channel.silence.is_news(report.received, time.monotonic()):
                log.warning("%s", explain_silence(self, channel.image))


def camera_names(text: str) -> dict[str, str]:
    """Cameras of `node.cameras` with the prefix of their topics; without any, one camera whose topics have none.

    Raises:
        ConfigError: a name that cannot be part of a topic, or one that stands there twice.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) is None or names.count(name) > 1:
            raise ConfigError(
                f"node.cameras wants different names of letters, digits and _, such as front,rear; got '{text}'"
            )
    return {name: f"{name}/" for name in names} or {"camera": ""}


def main(args: Sequence[str] | None = None) -> int:
    """The executable `segmenter`; never changes its own lifecycle state. Exit code 0 after SIGINT or SIGTERM."""
    rclpy.init(args=list(args) if args is not None else None)
    try:
        node = SegmenterNode()
    except VssError as error:
        rclpy.logging.get_logger("segmenter").fatal(str(error))
        rclpy.try_shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        # launch sends a second SIGINT to a process that the terminal has sent one already
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        node.close()
        executor.shutdown()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
