# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Which cameras there are and how their topics are called, for every face."""

from __future__ import annotations

import re

from vss_ros.core.errors import ConfigError


def camera_names(text: str) -> dict[str, str]:
    """Cameras of `node.cameras` with the prefix of their topics; without any, one camera whose topics have none.

    Raises:
        ConfigError: a name that cannot be part of a topic, or one that stands there twice.
    """
    names = split(text)
    for name in names:
        if re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) is None or names.count(name) > 1:
            raise ConfigError(
                f"node.cameras wants different names of letters, digits and _, such as front,rear; got '{text}'"
            )
    return {name: f"{name}/" for name in names} or {"camera": ""}


def remappings(cameras: str, name: str, topics: str) -> dict[str, str]:
    """What each camera subscribes to, by the name that it replaces: `front/image` -> `/front/image_raw`.

    Args:
        cameras: as `node.cameras`.
        name: without the camera, such as `image`.
        topics: one for each camera, with commas; empty replaces nothing.

    Raises:
        ConfigError: more or fewer topics than cameras.
    """
    names = [f"{prefix}{name}" for prefix in camera_names(cameras).values()]
    wanted = split(topics)
    if wanted and len(wanted) != len(names):
        raise ConfigError(f"{len(names)} topics were wanted for {', '.join(names)}, got {len(wanted)}: {topics}")
    return dict(zip(names, wanted, strict=False))


def split(text: str) -> list[str]:
    """The parts between commas, without blanks and empty ones."""
    return [part.strip() for part in text.split(",") if part.strip()]
