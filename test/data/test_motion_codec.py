# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
import av
import numpy as np
import pytest

from test.data.moving import LIVE, encoded, moving, scene
from vss_ros.core.motion import CELL, composed, in_cells
from vss_ros.data.motion_codec import EXPORT, CodecMotion


def decoded(packets, decoder="h264"):
    context = av.CodecContext.create(decoder, "r")
    context.options = EXPORT
    pictures = [picture for packet in packets for picture in context.decode(av.Packet(packet))]
    return pictures + context.decode(None)


def fields(packets, decoder="h264"):
    """What CodecMotion says of each picture."""
    find = CodecMotion()
    return [find(picture) for picture in decoded(packets, decoder)]


def is_near(motion, wanted):
    """Share of the known positions whose motion is within half a px."""
    known = motion[~np.isnan(motion[..., 0])]
    return float((np.abs(known - wanted).max(axis=1) <= 0.5).mean())


@pytest.mark.parametrize(
    ("encoder", "decoder", "options"),
    [("libx264", "h264", LIVE), ("mpeg4", "mpeg4", {"flags": "+qpel"}), ("mpeg4", "mpeg4", {})],
)
def test_what_moves_right_by_8_px_has_a_motion_of_minus_8(encoder, decoder, options):
    first, *others = fields(encoded(moving(5, 8), encoder, **options), decoder)
    assert first.codec_key and first.unmatched == 1 and np.isnan(first.motion).all()
    for field in others:
        assert field.motion.shape == (24, 32, 2) and not field.codec_key
        assert is_near(field.motion, (-8, 0)) > 0.9 and field.unmatched < 0.1


def test_the_other_way_it_is_plus_and_a_quarter_of_a_px_counts():
    *_, field = fields(encoded(moving(3, -3), **LIVE))
    assert is_near(field.motion, (3, 0)) > 0.9
    wide = moving(2, 1, size=(192, 1024))
    quarter = [np.ascontiguousarray(image.reshape(192, 256, 4, 3).mean(2).astype(np.uint8)) for image in wide]
    *_, field = fields(encoded(quarter, crf="1", **LIVE))
    assert np.median(field.motion[..., 0]) == -0.25


def test_a_chain_of_11_leads_back_by_88_px():
    _, *chain = fields(encoded(moving(12, 8, size=(192, 384)), **LIVE))
    cells = [in_cells(field.motion, (192, 384), (24, 48)) for field in chain]
    motion = cells[0]
    for now in cells[1:]:
        motion = composed(now, motion)
    inner = motion[2:-2, 13:-2]  # what was in the picture all the time
    assert is_near(inner * CELL, (-88, 0)) > 0.8


def test_blocks_that_are_skipped_are_known_to_stand_still():
    packets = encoded([scene(192, 256)] * 3, **LIVE)
    assert len(packets[1]) < 200  # nothing but skipped blocks fits in there
    _, *others = fields(packets)
    for field in others:
        assert field.unmatched == 0 and np.abs(field.motion).max() <= 0.5


@pytest.mark.parametrize("cut", ["0", "40"])
def test_another_scene_is_unmatched(cut):
    images = [scene(192, 256, 1)] * 3 + [scene(192, 256, 2)] * 2
    found = fields(encoded(images, **{"x264-params": f"scenecut={cut}"}, **LIVE))
    assert [field.unmatched > 0.4 for field in found] == [True, False, False, True, False]


def test_vectors_to_pictures_further_back_are_cut_to_one_step():
    """Two streams in turns, as layers of one: every vector leads two pictures back."""
    images = moving(10, 6)
    turns = zip(*(decoded(encoded(images[start::2], **LIVE)) for start in (0, 1)), strict=True)
    find = CodecMotion()
    found = [find(picture) for pair in turns for picture in pair][2:]
    assert len(found) == 8
    for field in found:
        assert is_near(field.motion, (-6, 0)) > 0.9


def test_around_b_pictures_nothing_is_known():
    pictures = decoded(encoded(moving(12, 4), preset="veryfast", bf="2", **{"x264-params": "b-adapt=0"}))
    kinds = [int(picture.pict_type) for picture in pictures]
    find = CodecMotion()
    found = [find(picture) for picture in pictures]
    assert kinds.count(3) >= 6 and found[0].codec_key
    for kind, before, field in zip(kinds[1:], kinds, found[1:], strict=False):
        assert (field is None) == (3 in (kind, before))


def test_codecs_without_vectors_know_nothing_but_their_keyframes():
    params = {"x265-params": "log-level=error:keyint=3:min-keyint=3"}
    found = fields(encoded(moving(5, 8), "libx265", preset="ultrafast", tune="zerolatency", **params), "hevc")
    assert [None if field is None else field.codec_key for field in found] == [True, None, None, True, None]


def test_without_the_option_nothing_is_known():
    context = av.CodecContext.create("h264", "r")
    find = CodecMotion()
    pictures = [p for packet in encoded(moving(3, 8), **LIVE) for p in context.decode(av.Packet(packet))]
    assert [find(picture) is None for picture in pictures] == [False, True, True]


def test_a_picture_of_another_size_has_no_picture_before():
    small, large = (decoded(encoded(moving(2, 8, size=size), **LIVE)) for size in ((96, 128), (192, 256)))
    find = CodecMotion()
    assert [find(p) is None for p in (*small, large[1])] == [False, False, True]


def test_sizes_that_no_block_fits_into():
    *_, field = fields(encoded(moving(3, 8, size=(90, 154)), **LIVE))
    assert field.motion.shape == (12, 20, 2)
    assert is_near(field.motion, (-8, 0)) > 0.8


def test_after_a_loss_nothing_is_known_until_the_next_intra_picture():
    pictures = decoded(encoded(moving(8, 4), g="5", **LIVE))
    find = CodecMotion()
    found = []
    for index, picture in enumerate(pictures):
        if index == 2:
            find.lost()
        found.append(find(picture))
    assert [field is None for field in found] == [False, False, True, True, True, False, False, False]
    assert found[5].codec_key and is_near(found[6].motion, (-4, 0)) > 0.9
