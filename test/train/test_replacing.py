# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A model folder is the old one or the new one, whatever fails or is killed between them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vss_ros import assemble
from vss_ros.core.errors import StageError, TrainError
from vss_ros.train.replacing import replacing


def model_at(folder: Path, content: str) -> Path:
    folder.mkdir()
    for name in ("card.yaml", "encode.onnx"):
        (folder / name).write_text(content)
    return folder


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_new_model_takes_the_place_whole(tmp_path: Path) -> None:
    model = model_at(tmp_path / "m", "old")
    (model / "fuse.onnx").write_text("of the old one alone")
    (model / "notes.txt").write_text("a user's")
    with replacing(model) as made:
        assert (model / "card.yaml").read_text() == "old"
        (made / "card.yaml").write_text("new")
    assert content_of(model) == {"card.yaml": b"new", "notes.txt": b"a user's"}
    assert list(tmp_path.iterdir()) == [model]


def test_where_none_was_the_folders_above_are_made_and_an_error_leaves_none(tmp_path: Path) -> None:
    with pytest.raises(StageError), replacing(tmp_path / "models" / "m") as made:
        raise StageError(str(made))
    assert not list((tmp_path / "models").iterdir())
    with replacing(tmp_path / "models" / "m"):
        pass
    assert (tmp_path / "models" / "m").is_dir()


def test_a_killed_run_is_tidied_up_by_the_next_one(tmp_path: Path) -> None:
    model = model_at(tmp_path / "m", "old")
    model_at(tmp_path / ".m.new", "half")
    with replacing(model) as made:
        assert not list(made.iterdir())
    assert list(tmp_path.iterdir()) == [model]


def test_a_run_killed_between_the_renames_has_lost_nothing(tmp_path: Path) -> None:
    model_at(tmp_path / ".m.old", "old")
    model_at(tmp_path / ".m.new", "whole, but nobody knows")
    with pytest.raises(StageError), replacing(tmp_path / "m"):
        raise StageError("this one fails, too")
    assert content_of(tmp_path / "m") == {"card.yaml": b"old", "encode.onnx": b"old"}
    assert list(tmp_path.iterdir()) == [tmp_path / "m"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    model = model_at(tmp_path / "elsewhere" / "real", "old")
    (tmp_path / "m").symlink_to(model)
    with replacing(tmp_path / "m") as made:
        (made / "card.yaml").write_text("new")
    assert (tmp_path / "m").is_symlink() and content_of(model) == {"card.yaml": b"new"}


def test_what_is_no_model_is_not_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "thesis", tmp_path / "thesis" / "chapter.txt"):
        with pytest.raises(TrainError, match=r"a model folder, an empty one or none was wanted at .*, got other files"):
            replacing(folder).__enter__()
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "x"
    with replacing(tmp_path / "empty"):
        pass


def test_leftovers_are_no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("m", ".m.new", ".m.old", ".export-x"):
        model_at(tmp_path / name, "")
    monkeypatch.setattr(assemble, "share_folder", lambda kind: tmp_path)
    assert assemble.model_folders() == [tmp_path / "m"]


def test_a_model_that_cannot_be_published_leaves_the_old_one_whole(
    single_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from test.train.test_temperature import TINY
    from vss_ros.train import publish as publishing

    folder = tmp_path / "models" / "tiny"
    shutil.copytree(single_folder, folder)
    before = content_of(folder)
    training = publishing.prepare_training(TINY, tmp_path / "run", None)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.jsonl").write_text("")

    def fails(card: object) -> None:
        raise StageError("the stages are written, the golden frames are not")

    with monkeypatch.context() as patched, pytest.raises(StageError):
        patched.setattr(publishing, "write_golden_file", fails)
        publishing.publish(training, training.stages.eval(), folder, None)
    assert content_of(folder) == before and list(folder.parent.iterdir()) == [folder]
    assert assemble.load_card(folder).stage_path("encode").is_file()
    card = publishing.publish(training, training.stages.eval(), folder, None)
    assert card == assemble.load_card(folder) and card.name == "tiny" and list(folder.parent.iterdir()) == [folder]
