# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The node that builds its engines before it is needed, and ends: `node.build_only`."""

from __future__ import annotations

import logging
from time import perf_counter

from vss_ros.assemble import engine_preparation, load_card, plan_of, stream_options
from vss_ros.core.config import Settings
from vss_ros.core.errors import ConfigError, VssError
from vss_ros.runtimes.preparing import Step

log = logging.getLogger(__name__)


def build_only(settings: Settings) -> int:
    """Build the engines of the configured size and check them as the node does; the exit code, 0 = they can be used.

    What went wrong is said in the log.
    """
    try:
        said = _built(settings)
    except VssError as error:
        log.error("%s", error)
        return 1
    log.info("%s", said)
    return 0


def _built(settings: Settings) -> str:
    if settings.runtime.backend not in ("auto", "tensorrt"):
        raise ConfigError(
            f"node.build_only wants runtime.backend tensorrt, got {settings.runtime.backend}, which has no engines"
        )
    card = load_card(settings.model.name)
    size = stream_options(card, settings).input_size
    if size is None:
        raise ConfigError(
            "node.build_only wants model.input_size model or WIDTHxHEIGHT, got auto, which is the camera's; "
            "or run vss engines build --camera WIDTHxHEIGHT"
        )
    started = perf_counter()
    plan = plan_of(card, settings)
    prepared = engine_preparation(card, plan, settings)(size, _say)
    seconds = perf_counter() - started
    return f"engines of {card.name} for {size[1]}x{size[0]} px are ready after {seconds:.0f} s: {prepared.says}"


def _say(step: Step) -> None:
    log.info("%s (%d of %d)", step.what, step.number, step.of)
