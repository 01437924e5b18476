# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The HTML: its sections with and without truth, nothing from elsewhere, names escaped, a bounded size."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vss_ros.assemble import load_card, load_model, load_settings
from vss_ros.core.card import ModelCard
from vss_ros.core.errors import BackendError, DataError
from vss_ros.data.synthetic import SyntheticDrive
from vss_ros.evaluate.keeper import Keeper
from vss_ros.evaluate.machine import cpu_name, machine
from vss_ros.evaluate.report import ask_for_libraries, render, write_report
from vss_ros.evaluate.side_by_side import Contender, evaluate

SIZE = (64, 96)
SECTIONS = ["summary", "plots", "classes", "worst", "frames", "again"]
NAMES = ["<b>bold & $x_1$</b>", 'lmanet "2"']

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")


class Page(HTMLParser):
    """What a browser would find."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.cells: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attributes)
        if tag == "section":
            self.sections.append(str(given["id"]))
        self.links += [str(value) for name, value in attributes if name in ("src", "href", "xlink:href", "action")]
        if tag not in ("meta", "img", "input", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("td", "th", "text"):
            self.cells.append(data)
        if self._open and self._open[-1] == "script":
            self.scripts.append(data)


def made(folders: list[Path], *, truth: bool) -> tuple[dict[str, Any], Keeper, ModelCard]:
    settings = {"model.input_size": "96x64", "runtime.threads": 1, "memory.scene_cut": 0.0}
    models = [load_model(load_settings(values={"model.name": str(folder), **settings})) for folder in folders]
    drive = SyntheticDrive(seed=3, size=SIZE, frames=6)
    frames = list(drive) if truth else [replace(frame, truth=None) for frame in drive]
    card = models[0].card
    kept = Keeper(len(card.labels), card.colours, len(frames))
    contenders = [Contender(name, model) for name, model in zip(NAMES, models, strict=True)]
    reports = evaluate(frames, contenders, observers=[kept])
    run = {
        "source": "a <drive>",
        "command": "vss evaluate 'x & y'",
        "settings": settings,
        "machine": machine(),
        "models": reports,
    }
    return run, kept, card


@pytest.fixture(scope="module")
def with_truth(single_folder: Path, lmanet_folder: Path) -> tuple[dict[str, Any], Keeper, ModelCard]:
    return made([single_folder, lmanet_folder], truth=True)


@pytest.fixture(scope="module")
def page(with_truth: tuple[dict[str, Any], Keeper, ModelCard]) -> Page:
    return Page(render(*with_truth))


def test_every_section_is_there(page: Page, with_truth: tuple[dict[str, Any], Keeper, ModelCard]) -> None:
    run, _, card = with_truth
    assert page.sections == SECTIONS
    assert page.tags.count("svg") == 6, "IoU, latency, mIoU, churn, confidence, reliability"
    for report in run["models"]:
        assert report["model"] in page.cells and f"{report['miou']:.3f}" in page.cells
    assert {*card.labels, "memory, frames", "numpy", "runtime.threads"} <= set(page.cells)


def test_nothing_comes_from_elsewhere(page: Page) -> None:
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert not {"link", "iframe", "object", "embed"} & set(page.tags)
    text = "".join(page.scripts)
    assert "http" not in text and "import" not in text and "fetch" not in text


def test_names_are_shown_as_they_are_and_run_nothing(page: Page) -> None:
    assert "b" not in page.tags, "a name is no markup"
    in_tables, in_plots = page.cells.count(NAMES[0]), [cell for cell in page.cells if "$x_1$" in cell]
    assert in_tables >= 3 and len(in_plots) > in_tables, "the plots' legends have it, too, with the error behind it"


def test_frames_can_be_flipped_through(page: Page) -> None:
    frames = json.loads(page.scripts[0])
    assert [frame["index"] for frame in frames] == list(range(6)) and frames[1]["time_s"] == pytest.approx(0.067)
    for frame in frames:
        pictures = [frame["image"], frame["truth"], *frame["labels"], *frame["confidence"]]
        assert len(pictures) == 6
        for picture in pictures:
            kind, _, coded = picture.partition(";base64,")
            start = {"data:image/jpeg": b"\xff\xd8", "data:image/png": b"\x89PNG"}[kind]
            assert base64.b64decode(coded).startswith(start)


def test_without_truth_there_is_no_accuracy(single_folder: Path, lmanet_folder: Path) -> None:
    text = render(*made([single_folder, lmanet_folder], truth=False))
    page = Page(text)
    assert page.sections == [name for name in SECTIONS if name != "classes"] and page.tags.count("svg") == 3
    assert "mIoU" not in text.replace("mIoU by frame", "") and "Most label churn" in text
    assert "agreement with first" in page.cells and 'data-what="truth"' not in text


def test_a_frame_that_a_model_refused_and_a_class_that_never_was(
    with_truth: tuple[dict[str, Any], Keeper, ModelCard],
) -> None:
    run, kept, card = with_truth
    first, *others = run["models"]
    name = card.labels[0]
    changed = {**first, "iou": {**first["iou"], name: None}, "dropped": {"<odd> size": 2}}
    alone = replace_notes(kept)
    text = render({**run, "models": [changed, *others]}, alone, card)
    assert "dropped 2 × &lt;odd&gt; size" in text and Page(text).sections == SECTIONS


def replace_notes(kept: Keeper) -> Keeper:
    """The same without what the second model made of the first frame."""
    first = kept.notes[0]
    notes = [replace(first, notes={NAMES[0]: first.notes[NAMES[0]]}), *kept.notes[1:]]
    return replace(kept, notes=notes)


def test_the_file_is_bounded_by_its_pictures(
    tmp_path: Path, with_truth: tuple[dict[str, Any], Keeper, ModelCard]
) -> None:
    """Twelve frames of noise at 480x360, which no codec makes small, for four contenders: too much by half."""
    from vss_ros.core.frame import Frame, Segmentation

    run, _, card = with_truth
    rng = np.random.default_rng(0)
    kept = Keeper(len(card.labels), card.colours, frames=12)
    for number in range(12):
        image = rng.integers(0, 256, (360, 480, 3), np.uint8)
        labels = rng.integers(0, 11, (360, 480), np.uint8)
        result = Segmentation(number, labels, image[..., 0])
        kept.see(Frame(number, image, truth=labels), {name: result for name in [*NAMES, "third", "fourth"]})
    assert len(kept.pictures()) < 12
    write_report(tmp_path / "new" / "report.html", run, kept, card)
    assert (tmp_path / "new" / "report.html").stat().st_size < 15_000_000


def test_what_cannot_be_written_is_said(tmp_path: Path, with_truth: tuple[dict[str, Any], Keeper, ModelCard]) -> None:
    with pytest.raises(DataError, match="a report was wanted at"):
        write_report(tmp_path, *with_truth)


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_missing_libraries_are_said_before_anything_runs(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(BackendError, match=f"{missing}.*pip install jinja2 matplotlib"):
        ask_for_libraries()


def test_the_machine_is_named(tmp_path: Path, single_folder: Path) -> None:
    assert machine()["numpy"] == np.__version__ and machine()["cores"] >= 1 and load_card(single_folder).labels
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel\t\t: 17\nmodel name\t: Fast CPU @ 3 GHz\n")
    assert cpu_name(info) == "Fast CPU @ 3 GHz"
    assert cpu_name(tmp_path / "none")
