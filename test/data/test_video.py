# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
import re
from fractions import Fraction

import av
import numpy as np
import pytest

from test.conftest import SHARED, needs_shared_data
from test.data.full_disk import said_on_a_full_disk
from test.data.moving import SIZE, moving
from vss_ros.core.errors import DataError
from vss_ros.data.video import VideoSource, VideoWriter


def picture(i, size=(48, 64)):
    """A smooth picture that brightens with i and has a red left half."""
    image = np.full((*size, 3), 40 + 10 * i, np.uint8)
    image[:, : size[1] // 2, 0] = 220
    return image


def write(path, count=12, size=(48, 64), fps=15.0):
    with VideoWriter(path, fps=fps) as out:
        for i in range(count):
            out.write(picture(i, size))
    return path


def test_what_is_written_comes_back_in_order(tmp_path):
    source = VideoSource(write(tmp_path / "a.mp4"))
    frames = list(source)
    assert len(source) == len(frames) == 12 and source.skipped == {}
    for i, frame in enumerate(frames):
        assert frame.stamp_ns == pytest.approx(i * 1e9 / 15, abs=1e5)
        assert np.abs(frame.image.astype(int) - picture(i)).mean() < 6
    assert frames[0].image[20, 10, 0] > 190 and frames[0].stream == "a.mp4"


@pytest.mark.parametrize("size", [(47, 64), (48, 63), (47, 63)])
def test_odd_sizes_are_padded(tmp_path, size):
    (frame, *_) = VideoSource(write(tmp_path / "a.mp4", 2, size))
    assert frame.size == (48, 64)
    assert np.abs(frame.image[: size[0], : size[1]].astype(int) - picture(0, size)).mean() < 6


def test_it_is_h264_in_yuv420p_at_the_rate(tmp_path):
    with av.open(str(write(tmp_path / "a.mp4", fps=29.97))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate) == pytest.approx(29.97, rel=1e-3)


def test_a_file_cut_in_its_head_or_no_video_is_refused(tmp_path):
    whole = write(tmp_path / "a.mp4").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text" * 100):
        (tmp_path / "cut.mp4").write_bytes(content)
        with pytest.raises(DataError, match="cannot be read as a video"):
            VideoSource(tmp_path / "cut.mp4")
    with pytest.raises(DataError, match="but there is none"):
        VideoSource(tmp_path / "none.mp4")


def test_a_file_cut_in_its_data_gives_its_frames_then_an_error(tmp_path):
    path = tmp_path / "fast.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        noise = np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), np.uint8)
        for image in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    source, read = VideoSource(path), 0
    with pytest.raises(DataError, match=r"breaks off after \d+ of 30 frames"):
        for _ in source:
            read += 1
    assert 5 < read < 25 and len(source) == 30


def encode(path, codec, numbers, *, pix_fmt="yuv420p", options=None):
    """A file of those pictures at 15 per second; it can be cut off behind its head."""
    noise = np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), np.uint8)
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=15, options=options or {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        for number in numbers:
            image = av.VideoFrame.from_ndarray(noise[number], format="rgb24").reformat(format=pix_fmt)
            image.pts, image.time_base = number, Fraction(1, 15)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))


def copy_from(whole, path, start_s):
    """As `ffmpeg -ss START -c copy` does: the packets from the keyframe before, hidden by an edit list."""
    options = {"movflags": "faststart"}
    with av.open(str(whole)) as given, av.open(str(path), "w", options=options) as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        start = round(start_s / given.streams.video[0].time_base)
        given.seek(start, stream=given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, stream
                container.mux(packet)


def cut_off(path, share):
    """The number of frames of a copy that lacks the end, and what is said then."""
    short = path.with_stem("short")
    data = path.read_bytes()
    short.write_bytes(data[: int(len(data) * share)])
    read = 0
    with pytest.raises(DataError, match="breaks off after") as caught:
        for _ in VideoSource(short):
            read += 1
    assert f"after {read} of" in str(caught.value)
    return read


def test_pictures_hidden_by_an_edit_list_are_not_missing(tmp_path):
    encode(tmp_path / "whole.mp4", "libx264", range(30), options={"g": "15"})
    copy_from(tmp_path / "whole.mp4", tmp_path / "a.mp4", Fraction(4, 3))  # picture 20; the keyframe is picture 15
    source = VideoSource(tmp_path / "a.mp4")
    frames, wanted = list(source), list(VideoSource(tmp_path / "whole.mp4"))[20:]
    assert len(frames) == 10 and source.skipped == {}
    for frame, other in zip(frames, wanted, strict=True):
        np.testing.assert_array_equal(frame.image, other.image)
    assert cut_off(tmp_path / "a.mp4", 0.9) < 10


def test_packets_that_an_edit_list_leaves_out_are_not_missing(tmp_path):
    path = tmp_path / "a.mp4"
    encode(path, "libx264", range(30), options={"g": "5", "tune": "zerolatency"})
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12  # behind version, flags and count: duration in ms of the first entry
    assert int.from_bytes(data[at : at + 4], "big") == 2000
    data[at : at + 4] = (1000).to_bytes(4, "big")
    path.write_bytes(data)
    assert len(list(VideoSource(path))) == 15
    assert cut_off(path, 0.4) < 15


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "options"),
    [("mjpeg", "yuvj420p", {}), ("mpeg4", "yuv420p", {}), ("libx264", "yuv420p", {"tune": "zerolatency"})],
)
def test_dropped_frames_of_an_avi_are_not_missing(tmp_path, codec, pix_fmt, options):
    numbers = [i for i in range(20) if i not in (7, 8, 9)]
    encode(tmp_path / "a.avi", codec, numbers, pix_fmt=pix_fmt, options=options)
    source = VideoSource(tmp_path / "a.avi")
    times = [round(frame.stamp_ns * 15 / 1e9) for frame in source]
    assert len(source) == 20 and len(times) == 17 and source.skipped == {}
    if codec != "libx264":  # an AVI has no times; FFmpeg guesses those of H.264
        assert times == numbers
    assert cut_off(tmp_path / "a.avi", 0.8) < 17


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(DataError, match="video stream, but has none"):
        VideoSource(tmp_path / "a.mp4")


def test_the_writer_refuses_what_is_no_picture_of_its_size(tmp_path):
    with VideoWriter(tmp_path / "a.mp4") as out:
        out.write(picture(0))
        with pytest.raises(DataError, match=r"size \(48, 64\).*got \(48, 66\)"):
            out.write(picture(0, (48, 66)))
        with pytest.raises(DataError, match=r"\(H, W, 3\) uint8 RGB"):
            out.write(np.zeros((48, 64), np.uint8))
    with pytest.raises(DataError, match="no video can be created"), VideoWriter(tmp_path / "no" / "a.mp4"):
        pass
    with pytest.raises(DataError, match="fps > 0"):
        VideoWriter(tmp_path / "a.mp4", fps=0)


@pytest.mark.parametrize("bframes", [0, 2])
def test_frames_bring_the_motion_of_the_codec_if_asked(tmp_path, bframes):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": str(bframes), "x264-params": "b-adapt=0"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for image in moving(7, 8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    assert all(frame.motion is None for frame in VideoSource(path))
    first, *others = VideoSource(path, motion=True)
    assert np.isnan(first.motion).all() and first.motion_since_ns is None
    if bframes:
        assert all(frame.motion is None for frame in others)
        return
    for before, frame in zip([first, *others], others, strict=False):
        assert np.nanmedian(frame.motion[..., 0]) == -8 and frame.motion_since_ns == before.stamp_ns


@needs_shared_data
def test_a_real_clip():
    source = VideoSource(SHARED / "clips" / "udacity_highway" / "vehicle_test_video.mp4")
    frames = list(source)
    assert len(frames) == len(source) == 38 and frames[0].size == (720, 1280)
    assert frames[1].stamp_ns - frames[0].stamp_ns == 40_000_000


def test_a_full_disk_is_one_sentence(tmp_path):
    program = """
from vss_ros.data.video import VideoWriter

try:
    with VideoWriter(sys.argv[1]) as out:
        out.write(np.zeros((32, 48, 3), np.uint8))
        fill_the_disk()
except DataError as error:
    print("error:", error, file=sys.stderr)
"""
    said = said_on_a_full_disk(program, tmp_path / "a.mp4")
    assert re.search(
        r"^error: .*a\.mp4 cannot be (finished|written on): .*; check the space left on the disk\n$", said
    ), said
