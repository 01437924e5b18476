# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
import array
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from test.data.moving import LIVE, encoded, moving, scene
from vss_ros.core.errors import FrameError
from vss_ros.data.messages import ns_to_stamp
from vss_ros.data.packets import PacketDecoder, codec_of, is_packet
from vss_ros.data.typestore import rosbags_image_types

STEP_NS = 66_666_667
X265 = {"preset": "ultrafast", "tune": "zerolatency"}


def stamp(number):
    return 1_700_000_000_000_000_000 + number * STEP_NS


def message(data, number, kind="compressed", codec="h264"):
    """A packet as each kind of message has it."""
    time = ns_to_stamp(stamp(number), rosbags_image_types())
    header = SimpleNamespace(stamp=time, frame_id="cam0")
    if kind == "compressed":
        return SimpleNamespace(header=header, format=codec, data=array.array("B", data))
    if kind == "foxglove":
        return SimpleNamespace(timestamp=time, frame_id="cam0", format=codec, data=np.frombuffer(data, np.uint8))
    encoding = f"{codec};yuv420p;bgr8;bgr8"
    return SimpleNamespace(header=header, encoding=encoding, pts=number, flags=0, data=array.array("B", data))


def decode(packets, left_out=(), motion=True, **kind):
    """All pictures, by number."""
    decoder = PacketDecoder(motion=motion)
    given = [m for i, m in enumerate(message(p, i, **kind) for i, p in enumerate(packets)) if i not in left_out]
    return {round((d.stamp_ns - stamp(0)) / STEP_NS): d for m in given for d in decoder(m)}


@pytest.mark.parametrize("kind", ["compressed", "foxglove", "ffmpeg"])
def test_pictures_with_their_stamps_and_motion(kind):
    images = moving(6, 8)
    pictures = decode(encoded(images, **LIVE), kind=kind)
    assert sorted(pictures) == list(range(6))
    for number, decoded in pictures.items():
        frame = decoded.frame("front")
        assert (frame.stamp_ns, frame.stream, frame.frame_id) == (stamp(number), "front", "cam0")
        assert np.abs(frame.image.astype(int) - images[number]).mean() < 12
        if number:
            assert np.nanmedian(frame.motion[..., 0]) == -8 and frame.motion_since_ns == stamp(number - 1)
    assert np.isnan(pictures[0].motion).all()


def test_without_motion_there_is_none():
    assert {d.motion is None for d in decode(encoded(moving(3, 8), **LIVE), motion=False).values()} == {True}


def test_h265_has_pictures_and_no_motion():
    params = {"x265-params": "log-level=error"}
    pictures = decode(encoded(moving(4, 8), "libx265", **X265, **params), codec="hevc")
    assert [pictures[i].motion is None for i in range(4)] == [False, True, True, True]
    assert pictures[3].frame("a").image.shape == (192, 256, 3)


@pytest.mark.parametrize(("encoder", "codec"), [("libx264", "h264"), ("libx265", "h265")])
def test_nothing_before_the_first_keyframe_and_nothing_raised(encoder, codec):
    options = (
        {"x264-params": "keyint=4"} if codec == "h264" else {"x265-params": "log-level=error:keyint=4:min-keyint=4"}
    )
    packets = encoded(moving(9, 4), encoder, preset="ultrafast", tune="zerolatency", **options)
    assert sorted(decode(packets, left_out=(0, 1), codec=codec)) == [4, 5, 6, 7, 8]


@pytest.mark.parametrize("kind", ["compressed", "ffmpeg"])
def test_after_a_lost_packet_there_is_no_motion_until_the_next_keyframe(kind):
    pictures = decode(encoded(moving(12, 4), g="6", **LIVE), left_out=(3,), kind=kind)
    assert sorted(pictures) == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert [number for number, decoded in pictures.items() if decoded.motion is None] == [4, 5]


def test_stamps_that_are_not_even_are_no_loss():
    decoder, motions = PacketDecoder(motion=True), []
    for number, packet in enumerate(encoded(moving(8, 4), **LIVE)):
        motions += [d.motion for d in decoder(message(packet, number + 0.3 * (number % 2)))]
    assert len(motions) == 8 and all(motion is not None for motion in motions)


def test_an_encoder_that_counts_nothing_is_trusted():
    decoder, motions = PacketDecoder(motion=True), []
    for number, packet in enumerate(encoded(moving(4, 4), **LIVE)):
        given = message(packet, number, kind="ffmpeg")
        given.pts = 0
        motions += [d.motion for d in decoder(given)]
    assert all(motion is not None for motion in motions)


def test_damaged_and_empty_packets_are_refused_and_the_stream_goes_on():
    packets = encoded(moving(9, 4), g="6", **LIVE)
    decoder, seen = PacketDecoder(motion=True), []
    rng = np.random.default_rng(0)
    for number, packet in enumerate(packets):
        data = {2: b"", 3: rng.bytes(300), 4: packet[: len(packet) // 2]}.get(number, packet)
        try:
            seen += decoder(message(data, number))
        except FrameError as error:
            assert number in (2, 3, 4) and "a whole packet of h264 was wanted" in str(error)
    assert [d.motion is None for d in seen if d.stamp_ns >= stamp(5)] == [True, False, False, False]


def test_another_codec_begins_anew():
    decoder = PacketDecoder(motion=True)
    assert len(decoder(message(encoded([scene(192, 256)], **LIVE)[0], 0))) == 1
    packets = encoded(moving(2, 8), "libx265", **X265, **{"x265-params": "log-level=error"})
    assert not decoder(message(packets[1], 1, codec="hevc")) and not decoder.began
    assert len(decoder(message(packets[0], 2, codec="hevc"))) == 1 and decoder.began


def test_b_pictures_come_in_the_order_they_are_shown():
    packets = encoded(moving(9, 4), preset="veryfast", bf="2", **{"x264-params": "b-adapt=0"})
    decoder = PacketDecoder(motion=True)
    shown_as = [0, 3, 1, 2, 6, 4, 5, 8, 7]
    pictures = [d for number, packet in zip(shown_as, packets, strict=True) for d in decoder(message(packet, number))]
    assert [d.stamp_ns for d in pictures] == [stamp(i) for i in range(len(pictures))] and len(pictures) >= 6
    assert all(d.motion is None for d in pictures[1:])


def test_pictures_that_b_pictures_hold_back_come_at_the_end():
    packets = encoded(moving(9, 4), preset="veryfast", bf="2", **{"x264-params": "b-adapt=0"})
    decoder = PacketDecoder(motion=True)
    for _ in range(2):
        count = sum(len(decoder(message(packet, number))) for number, packet in enumerate(packets))
        rest = decoder.rest()
        assert (count, len(rest)) == (7, 2) and {d.frame_id for d in rest} == {"cam0"}
        assert decoder.rest() == [], "nothing comes twice"


def test_damage_in_the_last_pictures_is_refused(monkeypatch):
    def fail(packet):
        raise ValueError("bits are missing")

    monkeypatch.setattr("vss_ros.data.packets._decoder_of", lambda codec, motion: SimpleNamespace(decode=fail))
    decoder = PacketDecoder(motion=False)
    assert decoder.rest() == [] == decoder(message(b"1", 0))
    with pytest.raises(FrameError, match=r"the last pictures of h264 .*bits are missing"):
        decoder.rest()


def test_a_picture_instead_of_a_skipped_one_has_the_motion_of_both():
    _, first, second, third = decode(encoded(moving(4, 8), **LIVE)).values()
    together = third.instead_of(second.instead_of(first))
    assert together.since_ns == stamp(0) and together.stamp_ns == stamp(3)
    assert np.nanmedian(together.motion[..., 0]) == -24
    assert third.instead_of(first).motion is None  # not the one just before it


def test_what_a_keyframe_follows_is_not_known_behind_it():
    pictures = decode(encoded(moving(4, 8), g="2", **LIVE))
    assert np.isnan(pictures[3].instead_of(pictures[2]).motion).all()


@pytest.mark.parametrize(
    ("text", "codec"),
    [("h264", "h264"), ("H265", "hevc"), ("hevc_nvenc", "hevc"), ("libx264;yuv420p;bgr8;rgb8", "h264")],
)
def test_names_of_codecs(text, codec):
    for given in (SimpleNamespace(encoding=text, pts=0), SimpleNamespace(format=text)):
        assert is_packet(given) and codec_of(given) == codec


@pytest.mark.parametrize("text", ["jpeg", "rgb8; jpeg compressed bgr8", "png", "mono16", "av1", ""])
def test_what_is_no_packet(text):
    given = SimpleNamespace(format=text)
    assert not is_packet(given) and is_packet(SimpleNamespace(format=text, timestamp=None))
    with pytest.raises(FrameError, match="packet of h264 or h265 was wanted"):
        codec_of(given)


def test_without_pyav_the_remedy_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(FrameError, match="pip install av"):
        PacketDecoder(motion=True)(message(b"x", 0))
