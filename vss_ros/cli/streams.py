# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Commands that segment a source: `demo`, `replay`, `segment`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vss_ros.cli.options import (
    DEFAULT_MODEL,
    Backend,
    JsonFile,
    ModelName,
    SettingsFile,
    Slots,
    Threads,
    Topic,
    Window,
    app,
    fresh,
    load_settings_for,
    out,
    progress,
    write_json,
)
from vss_ros.core.config import Settings


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder for the bags, the video and the report.")] = Path(
        "demo"
    ),
    frames: Annotated[int, typer.Option(help="Length of the drive.")] = 90,
    seed: Annotated[int, typer.Option(help="Which street.")] = 3,
    model: ModelName = DEFAULT_MODEL,
) -> None:
    """Render a synthetic drive into a bag, replay it, and say where labels, overlay and report lie.

    Example: `vss demo --out demo --frames 60`
    """
    from vss_ros.data.synthetic import SyntheticDrive, write_bag

    folder.mkdir(parents=True, exist_ok=True)
    bag = fresh(folder / "drive")
    drive = SyntheticDrive(seed=seed, frames=frames)
    with progress("rendering the drive", frames) as tick:
        write_bag(bag, drive, compressed=True, progress=tick)
    out.print(f"drive    {bag}")
    _replay(bag, load_settings_for(model=model), folder, title=f"synthetic drive {seed}", json_file=None)


@app.command()
def replay(
    source: Annotated[str, typer.Argument(help="Bag, video, image folder, CamVid folder or synthetic:SEED[xFRAMES].")],
    model: ModelName = DEFAULT_MODEL,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder for labels bag, overlay video and report.")
    ] = None,
    topic: Topic = None,
    real_time: Annotated[bool, typer.Option("--real-time", help="Keep the source's pace and count drops.")] = False,
    slots: Slots = -1,
    window: Window = -1,
    backend: Backend = "auto",
    threads: Threads = 0,
    settings: SettingsFile = None,
    json_file: JsonFile = None,
) -> None:
    """Every frame of a source through the segmenter: labels bag, overlay video, JSON and a table.

    Example: `vss replay ../shared/data/bags/kitti_91f_10hz --out runs/kitti --json runs/kitti.json`
    """
    chosen = load_settings_for(model, slots, window, backend, threads, settings)
    _replay(source, chosen, folder, title=str(source), json_file=json_file, topic=topic, real_time=real_time)


@app.command()
def segment(
    source: Annotated[str, typer.Argument(help="Any source that `replay` takes.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for one labels PNG and one overlay per frame.")],
    model: ModelName = DEFAULT_MODEL,
    topic: Topic = None,
    slots: Slots = -1,
    window: Window = -1,
    backend: Backend = "auto",
    threads: Threads = 0,
    settings: SettingsFile = None,
) -> None:
    """Write each frame's labels as PNG files (indices; 255 = unlabelled) beside overlays to look at.

    Example: `vss segment drive.mp4 --out runs/labels`
    """
    from vss_ros.assemble import load_model
    from vss_ros.data.source import open_source
    from vss_ros.evaluate.replay import replay as run
    from vss_ros.evaluate.sinks import LabelImages

    loaded = load_model(load_settings_for(model, slots, window, backend, threads, settings))
    frames = open_source(source, topic=topic)
    with progress("segmenting", len(frames)) as tick:
        figures = run(
            frames, loaded.stream(), loaded.card.labels, sinks=[LabelImages(folder, loaded.card)], progress=tick
        )
    if figures.broken:
        raise figures.broken
    out.print(f"{figures.frames} frames labelled in {folder}; dropped: {dict(figures.dropped) or 'none'}")


@app.command()
def evaluate(
    models: Annotated[list[str], typer.Argument(help="Names under models/, or paths; the first is the yardstick.")],
    data: Annotated[str, typer.Option("--data", help="CamVid folder, or any source that `replay` takes.")],
    split: Annotated[str, typer.Option(help="Of a CamVid folder: val or train.")] = "val",
    memory: Annotated[
        str, typer.Option(help="on; off, slots or window add rows with other memories (the paper's tables).")
    ] = "on",
    topic: Topic = None,
    backend: Backend = "auto",
    threads: Threads = 0,
    json_file: JsonFile = None,
) -> None:
    """Models side by side on the same frames: accuracy, steadiness, calibration, latency, cost.

    Example: `vss evaluate single_erfnet_camvid lmanet_erfnet_camvid --data ../shared/data/camvid --json runs/val.json`
    """
    from vss_ros.assemble import load_model
    from vss_ros.data.camvid import CamVidVideo
    from vss_ros.data.source import open_source
    from vss_ros.evaluate.side_by_side import contenders_of
    from vss_ros.evaluate.side_by_side import evaluate as run
    from vss_ros.evaluate.table import comparison_table

    chosen = [load_settings_for(name, backend=backend, threads=threads) for name in models]
    loaded = [load_model(settings) for settings in chosen]
    settings_of = {id(model): settings for model, settings in zip(loaded, chosen, strict=True)}
    contenders = contenders_of(loaded, memory, lambda m, changes: m.tuned(settings_of[id(m)].with_values(changes)))
    source = open_source(data, topic=topic) if split == "val" else CamVidVideo(data, split)
    with progress("evaluating", len(source)) as tick:
        reports = run(source, contenders, progress=tick)
    out.print(comparison_table(reports, f"{source.name}, {len(source)} frames"))
    if json_file:
        write_json(json_file, {"source": source.name, "models": reports})


def _replay(
    source: str | Path,
    settings: Settings,
    folder: Path | None,
    *,
    title: str,
    json_file: Path | None,
    topic: str | None = None,
    real_time: bool = False,
) -> None:
    from vss_ros.assemble import load_model
    from vss_ros.data.source import open_source
    from vss_ros.evaluate.replay import replay as run
    from vss_ros.evaluate.sinks import LabelsBag, OverlayVideo, Sink
    from vss_ros.evaluate.table import figures_table

    frames = open_source(str(source), topic=topic)
    loaded = load_model(settings)
    sinks: list[Sink] = []
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        labels, video = fresh(folder / "labels"), folder / "overlay.mp4"
        sinks = [LabelsBag(labels, loaded.card), OverlayVideo(video, loaded.card, fps=10.0)]
    with progress("segmenting", len(frames)) as tick:
        figures = run(frames, loaded.stream(), loaded.card.labels, sinks=sinks, real_time=real_time, progress=tick)
    for cause, count in frames.skipped.items():
        figures.dropped[cause] += count
    report = {"source": str(source), "model": loaded.card.name, "settings": settings.flat(), **figures.report()}
    out.print(figures_table(report, f"{loaded.card.name} on {title}"))
    if folder is not None:
        write_json(folder / "report.json", report)
        for what, path in (("labels", labels), ("overlay", video), ("report", folder / "report.json")):
            out.print(f"{what:<8} {path}", soft_wrap=True)
    if json_file:
        write_json(json_file, report)
    if figures.broken:
        raise figures.broken
