# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Why no picture comes."""

from __future__ import annotations

from typing import Any

import pytest

from vss_ros.ros.silence import Publisher, SilenceWatch, why_silent

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


def _why(
    *publishers: Publisher, wanted: str = IMAGE, reliable: bool = False, latched: bool = False, **more: Any
) -> str:
    return why_silent("/cam/image", wanted, publishers, reliable=reliable, latched=latched, **more)


def test_nobody_publishes():
    said = _why(elsewhere=["/front/image_raw"])
    assert "nobody publishes" in said and "/front/image_raw" in said


@pytest.mark.parametrize(
    ("wanted", "offered", "transport"), [(IMAGE, COMPRESSED, "compressed"), (COMPRESSED, IMAGE, "raw")]
)
def test_the_wrong_type(wanted, offered, transport):
    said = _why(Publisher("/cam/driver", offered, True, False), wanted=wanted)
    assert "/cam/driver publishes " + offered in said and f"image_transport to {transport}" in said


def test_an_overridden_profile_that_does_not_fit():
    said = _why(Publisher("/cam/driver", IMAGE, False, False), reliable=True)
    assert "/cam/driver offers reliability best_effort" in said
    assert "qos_overrides./cam/image.subscription.reliability" in said
    assert "durability volatile" in _why(Publisher("/cam/driver", IMAGE, True, False), reliable=True, latched=True)


def test_a_publisher_that_fits():
    assert "rmem_max" in _why(Publisher("/cam/driver", IMAGE, False, False))


def test_the_watch_says_it_once_and_again_after_frames_have_come():
    watch = SilenceWatch(0.0)
    assert [watch.is_news(0, t) for t in (1.0, 2.0, 3.0, 9.0)] == [False, True, False, False]
    assert [watch.is_news(5, t) for t in (10.0, 11.0, 12.5, 13.0)] == [False, False, True, False]
