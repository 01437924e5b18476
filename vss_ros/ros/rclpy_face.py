# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The lifecycle node `segmenter`: ROS on the one side, `SegmentApp` on the other, nothing of its own between."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from vss_ros.assemble import Model, load_model
from vss_ros.core.config import Settings, declarations
from vss_ros.core.errors import VssError
from vss_ros.core.frame import Frame, Segmentation
from vss_ros.ros.app import SegmentApp, warm_up
from vss_ros.ros.build_only import build_only
from vss_ros.ros.cameras import camera_names
from vss_ros.ros.conversions import diagnostics, label_info
from vss_ros.ros.outputs import Legend
from vss_ros.ros.parameters import declare_settings, settings_of
from vss_ros.ros.rclpy_channel import Channel
from vss_ros.ros.rclpy_types import DIAGNOSTICS, IMAGES, LABELS, picture_class
from vss_ros.ros.ros_logging import forward_logs

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


class SegmenterNode(LifecycleNode):
    """Subscribes to pictures, publishes labels; every transition can be undone and repeated."""

    def __init__(self, **options: Any) -> None:
        super().__init__("segmenter", **options)
        self._log_handler = forward_logs(self.get_logger())
        self._phase = "unconfigured"
        self._model: Model | None = None
        self._app: SegmentApp | None = None
        self._channels: dict[str, Channel] = {}
        declare_settings(self)
        self.add_on_set_parameters_callback(self._on_parameters)
        # one for the robot's aggregator, one beside the labels
        self._diagnostics = [self.create_publisher(DiagnosticArray, topic, 10) for topic in ("/diagnostics", "stats")]
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
            self._model = load_model(settings, alive=True)
            second_ms = warm_up(self._model.without_engines())
            self._app = SegmentApp(
                self._model,
                self._publish,
                cameras=list(cameras),
                max_age_ms=settings.node.max_age_ms,
                now_ns=self._now_ns,
            )
            legend = Legend.of(self._model.card)
            points = settings.output.points
            self._channels = {name: Channel(self, name, prefix, legend, points) for name, prefix in cameras.items()}
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
            kind = picture_class(settings.node.image_transport)
            for channel in self._channels.values():
                channel.subscribe(app, kind)
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
            channel.destroy()
        self._channels, self._app, self._model = {}, None, None
        self._phase = "unconfigured"

    def close(self) -> None:
        """End of the process: no transition, just no loose ends."""
        if self._app is not None:
            self._app.stop()
        logging.getLogger("vss_ros").removeHandler(self._log_handler)
        self.destroy_node()

    # Topics

    def _unsubscribe(self) -> None:
        for channel in self._channels.values():
            channel.unsubscribe()

    def _publish(self, frame: Frame, result: Segmentation) -> None:
        """Called in the worker's thread."""
        try:
            self._channels[result.stream].publish(frame, result)
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
                self._app.tune(self._model.tuned(settings), settings.node.max_age_ms)
        except VssError as error:
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
        model = "" if self._model is None else f"{self._model.card.name} on {self._model.backend}"
        message = diagnostics(
            reports,
            node=self.get_fully_qualified_name(),
            state=self._phase,
            hardware_id=model,
            stamp_ns=self._now_ns(),
            limits=settings_of(self).diagnostics,
            engines={} if self._model is None else self._model.engine_states(),
            images=IMAGES,
            types=DIAGNOSTICS,
        )
        for publisher in self._diagnostics:
            publisher.publish(message)
        for report in reports:
            self._channels[report.camera].watch(report.received)


def main(args: Sequence[str] | None = None, *, autostart: bool = False) -> int:
    """The executable `segmenter`. Exit code 0 after SIGINT or SIGTERM, and with `node.build_only` if engines are there.

    Args:
        args: the command line; that of the process if not given.
        autostart: configure and activate at once; else that is left to `ros2 lifecycle` or a launch file.
    """
    rclpy.init(args=list(args) if args is not None else None)
    try:
        node = SegmenterNode()
    except VssError as error:
        rclpy.logging.get_logger("segmenter").fatal(str(error))
        rclpy.try_shutdown()
        return 1
    if node.get_parameter("node.build_only").value:
        try:
            return build_only(settings_of(node))
        finally:
            node.close()
            rclpy.try_shutdown()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    started = True
    try:
        started = not autostart or _started(node)
        if started:
            executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        # launch sends a second SIGINT to a process that the terminal has sent one already
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        node.close()
        executor.shutdown()
        rclpy.try_shutdown()
    return 0 if started else 1


def _started(node: SegmenterNode) -> bool:
    """Configure and activate; what went wrong is in the log, and a shutdown meanwhile is not wrong."""
    good = TransitionCallbackReturn.SUCCESS
    return (node.trigger_configure() == good and node.trigger_activate() == good) or not node.context.ok()


if __name__ == "__main__":
    sys.exit(main())
