# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from vss_ros.core.errors import FrameError
from vss_ros.data.messages import (
    ENCODINGS,
    array_to_image,
    array_to_jpeg,
    image_to_labels,
    image_to_rgb,
    ns_to_stamp,
    stamp_to_ns,
)
from vss_ros.data.typestore import rosbags_image_types

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 8, 3), np.uint8)
TYPES = rosbags_image_types()


def message(rows, encoding, *, size=None, padding=0, big=0, wrap=bytes):
    """An Image from `(rows, row bytes)` uint8, each row followed by padding."""
    rows = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    height, width = size or RGB.shape[:2]
    padded = np.hstack([rows, np.full((len(rows), padding), 77, np.uint8)])
    data = wrap(padded.tobytes())
    return SimpleNamespace(
        height=height, width=width, encoding=encoding, step=padded.shape[1], is_bigendian=big, data=data
    )


def compressed(data, form="jpeg"):
    return SimpleNamespace(format=form, data=bytes(data))


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("big", [0, 1])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("8UC3", RGB[..., ::-1]),
        ("rgba8", np.dstack([RGB, np.full((6, 8), 9, np.uint8)])),
        ("bgra8", np.dstack([RGB[..., ::-1], np.full((6, 8), 9, np.uint8)])),
    ],
)
def test_colour_encodings_are_exact(encoding, pixels, big, padding):
    got = image_to_rgb(message(pixels, encoding, padding=padding, big=big))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, RGB)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_is_repeated(encoding):
    got = image_to_rgb(message(RGB[..., 0], encoding, padding=3))
    np.testing.assert_array_equal(got, np.repeat(RGB[..., :1], 3, 2))


@pytest.mark.parametrize("big", [0, 1])
def test_mono16_keeps_the_high_byte(big):
    values = RNG.integers(0, 65536, (6, 8), np.uint16)
    got = image_to_rgb(message(values.astype(">u2" if big else "<u2"), "mono16", padding=4, big=big))
    np.testing.assert_array_equal(got[..., 1], values >> 8)


@pytest.mark.parametrize("order", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_give_back_a_plain_colour(order):
    mosaic = np.zeros((6, 8), np.uint8)
    for letter, (y, x) in zip(order, [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True):
        mosaic[y::2, x::2] = {"r": 200, "g": 100, "b": 50}[letter]
    got = image_to_rgb(message(mosaic, f"bayer_{order}8", padding=1))
    np.testing.assert_array_equal(got, np.broadcast_to(np.array([200, 100, 50], np.uint8), (6, 8, 3)))


def yuv_of(red, green, blue):
    """BT.601 video range."""
    y = 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255
    u = 128 + (-37.797 * red - 74.203 * green + 112.0 * blue) / 255
    v = 128 + (112.0 * red - 93.786 * green - 18.214 * blue) / 255
    return round(y), round(u), round(v)


@pytest.mark.parametrize(
    ("encoding", "order"), [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")]
)
def test_yuv422_in_both_orders(encoding, order):
    y, u, v = yuv_of(200, 60, 90)
    pair = [{"y": y, "u": u, "v": v}[letter] for letter in order]
    got = image_to_rgb(message(np.tile(np.array(pair, np.uint8), (6, 4)), encoding, padding=6))
    np.testing.assert_allclose(got.astype(int), np.broadcast_to([200, 60, 90], (6, 8, 3)), atol=3)


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_nv12_has_half_size_colour_planes_below(encoding):
    y, u, v = yuv_of(40, 170, 220)
    colours = [u, v] if encoding == "nv12" else [v, u]
    rows = np.vstack([np.full((6, 8), y, np.uint8), np.tile(np.array(colours, np.uint8), (3, 4))])
    got = image_to_rgb(message(rows, encoding, padding=2))
    assert got.shape == (6, 8, 3)
    np.testing.assert_allclose(got.astype(int), np.broadcast_to([40, 170, 220], (6, 8, 3)), atol=3)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda b: array.array("B", b), list])
def test_data_may_be_any_kind_of_bytes(wrap):
    np.testing.assert_array_equal(image_to_rgb(message(RGB, "rgb8", wrap=wrap)), RGB)


def test_rgb8_is_a_read_only_view_of_the_message():
    data = np.zeros(6 * 30, np.uint8)
    msg = SimpleNamespace(height=6, width=8, encoding="rgb8", step=30, is_bigendian=0, data=data)
    got = image_to_rgb(msg)
    assert np.shares_memory(got, data) and not got.flags.writeable
    data[30] = 200
    assert got[1, 0, 0] == 200


def test_the_padding_of_the_last_row_may_be_missing():
    msg = message(RGB, "rgb8", padding=5)
    msg.data = msg.data[:-5]
    np.testing.assert_array_equal(image_to_rgb(msg), RGB)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_refuses_data_that_is_cut_off(encoding):
    whole = message(np.zeros((9 if encoding in ("nv12", "nv21") else 6, 8 * 4), np.uint8), encoding)
    assert image_to_rgb(whole).shape == (6, 8, 3)
    short = message(np.zeros((2, 8 * 4), np.uint8), encoding)
    with pytest.raises(FrameError, match=rf"at least \d+ bytes, got encoding '{encoding}', 8x6, step 32, 64 bytes"):
        image_to_rgb(short)


def test_a_step_below_the_row_is_refused():
    msg = message(RGB, "rgb8")
    msg.step = 23
    with pytest.raises(FrameError, match="step >= 24"):
        image_to_rgb(msg)


def test_an_unknown_encoding_names_the_known_ones():
    with pytest.raises(FrameError, match=r"rgb8, bgr8.*got encoding '32FC1', 8x6, step 8, 48 bytes.*image_proc"):
        image_to_rgb(message(RGB[..., 0], "32FC1"))


@pytest.mark.parametrize("encoding", ["yuv422", "nv12", "bayer_rggb8"])
def test_odd_sizes_are_refused_where_pixels_share_colours(encoding):
    with pytest.raises(FrameError, match="wants an even size"):
        image_to_rgb(message(np.zeros((9, 32), np.uint8), encoding, size=(6, 7)))


@pytest.mark.parametrize("form", ["jpeg", "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed", ""])
def test_jpeg_is_known_by_its_data_whatever_the_format_says(form):
    smooth = cv2.resize(RGB, (80, 60), interpolation=cv2.INTER_CUBIC)
    data = cv2.imencode(".jpg", smooth[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    got = image_to_rgb(compressed(data, form))
    assert np.abs(got.astype(int) - smooth).mean() < 4


def test_png_is_exact():
    data = cv2.imencode(".png", np.ascontiguousarray(RGB[..., ::-1]))[1].tobytes()
    np.testing.assert_array_equal(image_to_rgb(compressed(data, "rgb8; png compressed bgr8")), RGB)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_compressed_data_that_is_cut_off_is_refused(suffix):
    noise = RNG.integers(0, 256, (64, 64, 3), np.uint8)
    data = cv2.imencode(suffix, noise)[1].tobytes()
    with pytest.raises(FrameError, match="cut off or damaged"):
        image_to_rgb(compressed(data[: len(data) // 2]))


@pytest.mark.parametrize("data", [b"", b"RIFF" + bytes(90)])
def test_other_formats_are_refused(data):
    with pytest.raises(FrameError, match=r"wants jpeg or png, got format 'webp' with \d+ bytes"):
        image_to_rgb(compressed(data, "webp"))


def test_mono8_goes_out_without_gaps_and_comes_back():
    labels = np.ascontiguousarray(np.arange(35, dtype=np.uint8).reshape(5, 7))[:, ::-1]
    msg = array_to_image(labels, 1_700_000_000_123_456_789, "cam", types=TYPES)
    assert (msg.encoding, msg.step, msg.width, msg.height, len(msg.data)) == ("mono8", 7, 7, 5, 35)
    assert msg.header.frame_id == "cam" and stamp_to_ns(msg.header.stamp) == 1_700_000_000_123_456_789
    np.testing.assert_array_equal(image_to_labels(msg), labels)


def test_rgb_goes_out_and_comes_back():
    msg = array_to_image(RGB, 5, "", types=TYPES)
    assert msg.encoding == "rgb8" and msg.step == 24
    np.testing.assert_array_equal(image_to_rgb(msg), RGB)


def test_jpeg_goes_out_and_comes_back():
    msg = array_to_jpeg(np.full((16, 16, 3), (200, 30, 60), np.uint8), 5, "cam", types=TYPES)
    assert msg.format == "rgb8; jpeg compressed bgr8"
    np.testing.assert_allclose(image_to_rgb(msg)[8, 8].astype(int), [200, 30, 60], atol=4)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.int32), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8)])
def test_only_uint8_pictures_become_messages(pixels):
    with pytest.raises(FrameError, match=r"wants \(H, W\) or \(H, W, 3\) uint8"):
        array_to_image(pixels, 0, "", types=TYPES)


def test_labels_are_read_from_png_but_never_from_jpeg_or_colour():
    labels = RNG.integers(0, 11, (6, 8), np.uint8)
    png = cv2.imencode(".png", labels)[1].tobytes()
    np.testing.assert_array_equal(image_to_labels(compressed(png, "mono8; png compressed")), labels)
    with pytest.raises(FrameError, match="labels want PNG"):
        image_to_labels(compressed(cv2.imencode(".jpg", labels)[1].tobytes()))
    with pytest.raises(FrameError, match="labels want encoding mono8"):
        image_to_labels(message(RGB, "rgb8"))


@pytest.mark.parametrize("stamp_ns", [0, 1, 999_999_999, 1_000_000_000, 2_000_000_000_000_000_001])
def test_stamps_keep_every_nanosecond(stamp_ns):
    assert stamp_to_ns(ns_to_stamp(stamp_ns, TYPES)) == stamp_ns
