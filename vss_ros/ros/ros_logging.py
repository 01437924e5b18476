# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The library's plain logging, forwarded to a ROS logger."""

from __future__ import annotations

import logging
from typing import Any


class RosLogHandler(logging.Handler):
    """Hands records on; a ROS logger wants each severity called from a line of its own."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.levelno >= logging.CRITICAL:
            self._logger.fatal(text)
        elif record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


def forward_logs(logger: Any, name: str = "vss_ros") -> RosLogHandler:
    """Everything the package logs goes to a ROS logger, which also decides what is shown; returns what to take away."""
    handler = RosLogHandler(logger)
    library = logging.getLogger(name)
    library.addHandler(handler)
    library.setLevel(logging.DEBUG)
    library.propagate = False
    return handler
