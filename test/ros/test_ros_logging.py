# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Library logs reach a ROS logger with their severity."""

from __future__ import annotations

import logging
from unittest.mock import Mock

from vss_ros.ros.ros_logging import RosLogHandler, forward_logs


def test_each_severity_goes_to_its_own_call():
    ros = Mock()
    handler = RosLogHandler(ros)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        handler.handle(logging.LogRecord("vss_ros.x", level, __file__, 1, "frame %d", (7,), None))
    for call in (ros.debug, ros.info, ros.warning, ros.error, ros.fatal):
        call.assert_called_once_with("frame 7")


def test_a_library_logger_is_forwarded_until_the_handler_is_taken_away():
    ros, name = Mock(), "vss_ros_test_forward"
    handler = forward_logs(ros, name)
    logging.getLogger(name).info("hello")
    logging.getLogger(name).removeHandler(handler)
    logging.getLogger(name).info("again")
    ros.info.assert_called_once_with("hello")
