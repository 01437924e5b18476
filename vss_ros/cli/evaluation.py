# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Commands that judge: `evaluate`, `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vss_ros.cli.options import (
    Backend,
    JsonFile,
    Threads,
    Topic,
    TruthTopic,
    app,
    ask_for_room,
    command_line,
    load_settings_for,
    out,
    progress,
    say,
    write_json,
)
from vss_ros.core.config import Settings
from vss_ros.core.errors import DataError

if TYPE_CHECKING:
    from vss_ros.assemble import Model
    from vss_ros.data.source import Source

_OF_A_STREAM = ("model.input_size", "memory.", "output.size", "runtime.", "confidence.")


@app.command()
def evaluate(
    models: Annotated[list[str], typer.Argument(help="Names under models/, or paths; the first is the yardstick.")],
    data: Annotated[str, typer.Option("--data", help="CamVid folder, or any source that `replay` takes.")],
    split: Annotated[str, typer.Option(help="Of a data set's folder: val, train or another that it has.")] = "val",
    memory: Annotated[
        str, typer.Option(help="on; off, slots or window add rows with other memories (the paper's tables).")
    ] = "on",
    flow: Annotated[
        str, typer.Option(help="Of TC: dis, or raft:FILE with weights of torchvision's RAFT (a .pth file).")
    ] = "dis",
    topic: Topic = None,
    truth_topic: TruthTopic = None,
    backend: Backend = "auto",
    threads: Threads = 0,
    json_file: JsonFile = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write a report to look at to this file; wants jinja2, matplotlib.")
    ] = None,
) -> None:
    """Models side by side on the same frames: accuracy, steadiness, calibration, latency, cost.

    Example: `vss evaluate single_erfnet_camvid lmanet_erfnet_camvid --data ../shared/data/camvid --html runs/val.html`
    """
    from vss_ros.assemble import load_model
    from vss_ros.evaluate import report
    from vss_ros.evaluate.keeper import Keeper
    from vss_ros.evaluate.side_by_side import check_classes, contenders_of
    from vss_ros.evaluate.side_by_side import evaluate as run
    from vss_ros.evaluate.steadiness import flow_named
    from vss_ros.evaluate.table import comparison_tables

    if html_file:
        report.ask_for_libraries()
    ask_for_room(json_file, html_file)
    of_tc = flow_named(flow)
    chosen = [load_settings_for(name, backend=backend, threads=threads) for name in models]
    loaded = [load_model(settings) for settings in chosen]
    settings_of = {id(model): settings for model, settings in zip(loaded, chosen, strict=True)}
    source = _source(data, split, topic, truth_topic, loaded)
    card = loaded[0].card
    check_classes(source, card)
    contenders = contenders_of(
        loaded,
        memory,
        lambda: next((frame.size for frame in source), card.input_size),
        lambda m, changes: m.tuned(settings_of[id(m)].with_values(changes)),
    )
    kept = Keeper(len(card.labels), card.colours, len(source))
    with progress("evaluating", len(source)) as tick:
        reports = run(source, contenders, observers=[kept] if html_file else [], progress=tick, flow=of_tc)
    content = _content(source, chosen[0], reports)
    # before anything is printed: a reader such as `head` that has seen enough ends the process
    if json_file:
        write_json(json_file, content)
    if html_file:
        report.write_report(html_file, content, kept, card)
    for table in comparison_tables(reports, f"{source.name}, {len(source)} frames"):
        out.print(table, "")
    if "broken" in reports[0]:
        raise DataError(reports[0]["broken"])


def _source(data: str, split: str, topic: str | None, truth_topic: str | None, loaded: list[Model]) -> Source:
    from vss_ros.core.keyframes import reads_codec_motion
    from vss_ros.data.source import open_source

    motion = any(reads_codec_motion(model.plan, model.options.keyframes) for model in loaded)
    return open_source(data, topic=topic, truth_topic=truth_topic, motion=motion, split=split)


def _content(source: Source, settings: Settings, reports: list[dict[str, Any]]) -> dict[str, Any]:
    from vss_ros.evaluate.machine import machine

    return {
        "source": source.name,
        "skipped": source.skipped,
        "command": command_line(),
        "settings": {key: value for key, value in settings.flat().items() if key.startswith(_OF_A_STREAM)},
        "machine": machine(),
        "models": reports,
    }


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="JSON of `vss evaluate` or `vss replay`.")],
    b: Annotated[Path, typer.Argument(help="Another one, which is measured against the first.")],
    json_file: JsonFile = None,
) -> None:
    """Two runs side by side: each figure, its difference, and whether that is better or worse.

    Example: `vss compare runs/before.json runs/after.json`
    """
    from vss_ros.evaluate.compare import compare as run
    from vss_ros.evaluate.compare import differs_line, read_run
    from vss_ros.evaluate.table import difference_table

    ask_for_room(json_file)
    found = run(read_run(a), read_run(b))
    if json_file:
        write_json(json_file, {"a": str(a), "b": str(b), **found})
    out.print(difference_table(found, f"B, {b}, against A, {a}"))
    if found["differs"]:
        say(f"note: {differs_line(found['differs'])}")
