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
    TruthTopic,
    Window,
    app,
    ask_for_room,
    command_line,
    fresh,
    load_settings_for,
    make_folder,
    out,
    progress,
    say,
    write_json,
)
from vss_ros.core.config import Settings
from vss_ros.core.errors import DataError


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

    make_folder(folder)
    bag = fresh(folder / "drive")
    drive = SyntheticDrive(seed=seed, frames=frames)
    with progress("rendering the drive", frames) as tick:
        write_bag(bag, drive, compressed=True, progress=tick)
    say(f"drive    {bag}")
    _replay(bag, load_settings_for(model=model), folder, title=f"synthetic drive {seed}", json_file=None)


@app.command()
def replay(
    source: Annotated[str, typer.Argument(help="Bag, video, image folder, CamVid folder or synthetic:SEED[xFRAMES].")],
    model: ModelName = DEFAULT_MODEL,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder for labels bag, overlay video and report.")
    ] = None,
    topic: Topic = None,
    truth_topic: TruthTopic = None,
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
    topics = topic, truth_topic
    _replay(source, chosen, folder, title=source, json_file=json_file, topics=topics, real_time=real_time)


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
    from vss_ros.core.keyframes import reads_codec_motion
    from vss_ros.data.source import open_source
    from vss_ros.evaluate.replay import replay as run
    from vss_ros.evaluate.sinks import LabelImages

    loaded = load_model(load_settings_for(model, slots, window, backend, threads, settings))
    motion = reads_codec_motion(loaded.plan, loaded.options.keyframes)
    frames = open_source(source, topic=topic, motion=motion)
    with progress("segmenting", len(frames)) as tick:
        figures = run(
            frames, loaded.stream(), loaded.card.labels, sinks=[LabelImages(folder, loaded.card)], progress=tick
        )
    if figures.broken:
        raise figures.broken
    say(f"{figures.frames} frames labelled in {folder}; dropped: {dict(figures.dropped) or 'none'}")


def _replay(
    source: str | Path,
    settings: Settings,
    folder: Path | None,
    *,
    title: str,
    json_file: Path | None,
    topics: tuple[str | None, str | None] = (None, None),
    real_time: bool = False,
) -> None:
    from vss_ros.assemble import load_model
    from vss_ros.core.keyframes import reads_codec_motion
    from vss_ros.data.source import open_source
    from vss_ros.evaluate.machine import machine
    from vss_ros.evaluate.replay import replay as run
    from vss_ros.evaluate.sinks import LabelsBag, OverlayVideo, Sink
    from vss_ros.evaluate.table import figures_table

    ask_for_room(json_file)
    loaded = load_model(settings)
    motion = reads_codec_motion(loaded.plan, loaded.options.keyframes)
    frames = open_source(source, topic=topics[0], truth_topic=topics[1], motion=motion)
    sinks: list[Sink] = []
    if folder is not None:
        make_folder(folder)
        labels, video = fresh(folder / "labels"), folder / "overlay.mp4"
        sinks = [LabelsBag(labels, loaded.card), OverlayVideo(video, loaded.card)]
    with progress("segmenting", len(frames)) as tick:
        figures = run(frames, loaded.stream(), loaded.card.labels, sinks=sinks, real_time=real_time, progress=tick)
    for cause, count in frames.skipped.items():
        figures.dropped[cause] += count
    report = {
        "source": str(source),
        "command": command_line(),
        "model": loaded.card.name,
        "settings": settings.flat(),
        "machine": machine(),
        **figures.report(),
    }
    # before anything is printed: a reader such as `head` that has seen enough ends the process
    for file in (folder and folder / "report.json", json_file):
        try:
            if file:
                write_json(file, report)
        except DataError as error:  # the figures are shown all the same
            figures.broken = figures.broken or error
    out.print(figures_table(report, f"{loaded.card.name} on {title}"))
    if folder is not None:
        for what, path in (("labels", labels), ("overlay", video), ("report", folder / "report.json")):
            say(f"{what:<8} {path}")
    if figures.broken:
        raise figures.broken
