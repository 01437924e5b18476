# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Why no picture comes, and whose QoS does not fit."""

from __future__ import annotations

from typing import Any

import pytest

from vss_ros.data.messages import TRANSPORTS
from vss_ros.ros.silence import (
    NAMELESS,
    Publisher,
    Refusal,
    RefusalWatch,
    SilenceWatch,
    disagreement,
    why_silent,
)

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


def _why(
    *publishers: Publisher, wanted: str = IMAGE, reliable: bool = False, latched: bool = False, **more: Any
) -> str:
    return why_silent("/cam/image", wanted, publishers, reliable=reliable, latched=latched, **more)


def test_nobody_publishes():
    said = _why(elsewhere=["/front/image_raw"])
    assert "nobody publishes" in said and "/front/image_raw" in said


@pytest.mark.parametrize(
    ("wanted", "offered", "transport"),
    [(IMAGE, COMPRESSED, "compressed"), (COMPRESSED, IMAGE, "raw"), (IMAGE, TRANSPORTS["ffmpeg"], "ffmpeg")],
)
def test_the_wrong_type(wanted, offered, transport):
    said = _why(Publisher("/cam/driver", offered, True, False), wanted=wanted)
    assert "/cam/driver publishes " + offered in said and f"image_transport to {transport}" in said


def test_a_type_that_has_no_pictures():
    said = _why(Publisher("/chatter", "std_msgs/msg/String", True, False))
    assert "publishes std_msgs/msg/String; choose another image_topic" in said and "image_transport" not in said


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


# QoS that does not fit


def _watch(overridable: bool = True) -> RefusalWatch:
    return RefusalWatch("/vss/segmenter", overridable=overridable)


def _ends(*ends: Publisher) -> Any:
    return lambda topic: list(ends)


WANTS_RELIABLE = Publisher("/vss/segmenter", IMAGE, True, False)
OWN_LABELS = Publisher("/vss/segmenter", IMAGE, True, False)
REFUSED_FRAMES = Refusal("/cam/image", "reliability", publishes=False)
REFUSED_LABELS = Refusal("/vss/labels", "durability", publishes=True)


def test_a_publisher_is_named_as_soon_as_its_name_is_known():
    watch = _watch()
    watch.add(REFUSED_FRAMES, 10.0)
    fits, nameless = Publisher("/good", IMAGE, True, False), Publisher(NAMELESS, IMAGE, False, False)
    assert watch.news(_ends(fits), _ends(WANTS_RELIABLE), 10.0) == [] and watch.waits
    assert watch.news(_ends(fits, nameless), _ends(WANTS_RELIABLE), 10.1) == []
    named = Publisher("/cam/driver", IMAGE, False, False)
    (said,) = watch.news(_ends(fits, named), _ends(WANTS_RELIABLE), 10.2)
    assert said == (
        "nothing comes from /cam/driver on '/cam/image': this node wants reliability reliable, best_effort is "
        "offered; set qos_overrides./cam/image.subscription.reliability to best_effort"
    )
    assert not watch.waits
    watch.add(REFUSED_FRAMES, 20.0)
    assert watch.news(_ends(fits, named), _ends(WANTS_RELIABLE), 20.1) == [], "said once"


def test_names_that_never_come_are_not_waited_for_for_ever():
    watch = _watch()
    watch.add(REFUSED_FRAMES, 10.0)
    nameless = Publisher(NAMELESS, IMAGE, False, False)
    assert watch.news(_ends(nameless), _ends(WANTS_RELIABLE), 11.9) == []
    (said,) = watch.news(_ends(nameless), _ends(WANTS_RELIABLE), 12.0)
    assert "nothing comes from a node without a name" in said


@pytest.mark.parametrize("overridable", [True, False])
def test_a_planner_that_wants_more_than_labels_offer(overridable):
    watch = _watch(overridable)
    watch.add(REFUSED_LABELS, 0.0)
    planner = Publisher("/planner", IMAGE, True, True)
    (said,) = watch.news(_ends(OWN_LABELS), _ends(planner), 0.1)
    assert said.startswith("'/vss/labels' does not reach /planner: durability transient_local was wanted")
    assert "let the subscription ask for volatile" in said
    assert ("qos_overrides./vss/labels.publisher.durability to transient_local" in said) == overridable


def test_other_policies_are_named_with_all_that_may_be_meant():
    watch = _watch()
    watch.add(Refusal("/cam/image", "ownership", publishes=False), 0.0)
    ends = [Publisher(f"/{name}", IMAGE, False, False) for name in "ba"] + [Publisher("/c", COMPRESSED, True, False)]
    (said,) = watch.news(_ends(*ends), _ends(Publisher("/vss/segmenter", IMAGE, False, False)), 0.1)
    assert said == (
        "nothing comes from one of /a, /b on '/cam/image': its QoS policy ownership does not fit this node's; "
        "change it there"
    )


@pytest.mark.parametrize(
    ("wanted", "offered", "policy"),
    [
        ((True, False), (False, True), "reliability"),
        ((True, True), (True, False), "durability"),
        ((False, False), (False, False), None),
        ((False, False), (True, True), None),
    ],
)
def test_a_subscription_may_want_less_than_is_offered(wanted, offered, policy):
    found = disagreement(Publisher("", IMAGE, *wanted), Publisher("", IMAGE, *offered))
    assert (found and found[0]) == policy
