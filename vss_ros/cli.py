# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""`vss`: everything the package does, from a terminal."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vss_ros import __version__
from vss_ros.core.config import Settings
from vss_ros.core.errors import VssError

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_enable=False)
out = Console()

ModelName = Annotated[str, typer.Option("--model", "-m", help="Name under models/, or path of a model folder.")]
Slots = Annotated[int, typer.Option("--memory-slots", help="Past frames remembered; -1 = the card's, 0 = off.")]
Window = Annotated[
    int, typer.Option("--memory-window", help="Cells searched around each position; odd, -1 = the card's.")
]
Backend = Annotated[str, typer.Option("--backend", help="auto, onnx or torch.")]
Threads = Annotated[int, typer.Option("--threads", help="CPU threads; 0 = all cores.")]
SettingsFile = Annotated[Path | None, typer.Option("--settings", help="YAML file as config/segmenter.yaml.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
Topic = Annotated[str | None, typer.Option("--topic", help="Image topic of a bag; not needed where there is only one.")]

_DEFAULT_MODEL = Settings().model.name


def main(args: Sequence[str] | None = None) -> None:
    """Run `vss`; what the package refuses is one line on stderr and exit code 1."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        app(args, standalone_mode=True)
    except VssError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {error}", highlight=False, soft_wrap=True)
        raise SystemExit(1) from error


def main_doctor() -> None:
    """`ros2 run vss_ros doctor`, which is `vss doctor`."""
    main(["doctor", *sys.argv[1:]])


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Streaming video semantic segmentation: a frame in, a label for every pixel out."""
    if version:
        out.print(__version__)
        raise typer.Exit


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder for the bags, the video and the report.")] = Path(
        "demo"
    ),
    frames: Annotated[int, typer.Option(help="Length of the drive.")] = 90,
    seed: Annotated[int, typer.Option(help="Which street.")] = 3,
    model: ModelName = _DEFAULT_MODEL,
) -> None:
    """Render a synthetic drive into a bag, replay it, and say where labels, overlay and report lie.

    Example: `vss demo --out demo --frames 60`
    """
    from vss_ros.data.synthetic import SyntheticDrive, write_bag

    folder.mkdir(parents=True, exist_ok=True)
    bag = _fresh(folder / "drive")
    drive = SyntheticDrive(seed=seed, frames=frames)
    with _progress("rendering the drive", frames) as tick:
        write_bag(bag, drive, compressed=True, progress=tick)
    out.print(f"drive    {bag}")
    _replay(bag, load_settings_for(model=model), folder, title=f"synthetic drive {seed}", json_file=None)


@app.command()
def replay(
    source: Annotated[str, typer.Argument(help="Bag, video, image folder, CamVid folder or synthetic:SEED[xFRAMES].")],
    model: ModelName = _DEFAULT_MODEL,
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
    model: ModelName = _DEFAULT_MODEL,
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
    with _progress("segmenting", len(frames)) as tick:
        figures = run(
            frames, loaded.stream(), loaded.card.labels, sinks=[LabelImages(folder, loaded.card)], progress=tick
        )
    if figures.broken:
        raise figures.broken
    out.print(f"{figures.frames} frames labelled in {folder}; dropped: {dict(figures.dropped) or 'none'}")


@app.command()
def node(
    transport: Annotated[
        str, typer.Option(help="auto, rclpy or dds; auto = rclpy if ROS 2 is there, else dds.")
    ] = "auto",
    image_topic: Annotated[str, typer.Option(help="Pictures; with commas for several cameras.")] = "",
    camera_info_topic: Annotated[str, typer.Option(help="CameraInfo, likewise; not needed for labels.")] = "",
    image_transport: Annotated[str, typer.Option(help="raw (Image) or compressed (CompressedImage).")] = "raw",
    points: Annotated[str, typer.Option(help="Labelled points from depth or cloud; none leaves them out.")] = "none",
    points_topic: Annotated[str, typer.Option(help="Registered depth, or organised clouds, likewise.")] = "",
    namespace: Annotated[str, typer.Option(help="Of the node and of the topics it publishes.")] = "vss",
    model: ModelName = _DEFAULT_MODEL,
    slots: Slots = -1,
    window: Window = -1,
    backend: Backend = "auto",
    threads: Threads = 0,
    settings: SettingsFile = None,
) -> None:
    """Label the pictures of a ROS 2 topic until Ctrl-C; with `--transport dds` ROS need not be installed.

    Example: `vss node --transport dds --image-topic /camera/image_raw`
    """
    from vss_ros.ros.command import run_node

    chosen = load_settings_for(model, slots, window, backend, threads, settings)
    if image_transport != "raw":
        chosen = chosen.with_values({"node.image_transport": image_transport})
    if points != "none":
        chosen = chosen.with_values({"output.points": points})
    topics = {"image_topic": image_topic, "camera_info_topic": camera_info_topic, "points_topic": points_topic}
    raise typer.Exit(run_node(chosen, transport=transport, namespace=namespace, **topics))


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="Model folder whose weights are exported again.")],
    folder: Annotated[Path, typer.Option("--out", help="Model folder to write.")],
    weights: Annotated[
        Path | None, typer.Option("--weights", help="A state dict (.pt) instead of the folder's.")
    ] = None,
) -> None:
    """Write a model's stages to ONNX again and compare them with torch; needs torch.

    Example: `vss export lmanet_erfnet_camvid --out runs/exported`
    """
    from vss_ros.train.publish import export_again

    card = export_again(model, folder, weights)
    out.print(f"{card.name}: {', '.join(card.stages)} written to {folder}, equal to torch within rounding")


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="YAML file as in config/recipes.")],
    data: Annotated[Path | None, typer.Option("--data", help="CamVid folder.")] = None,
    folder: Annotated[Path, typer.Option("--out", help="For checkpoints and log; a run is resumed from there.")] = Path(
        "runs"
    ),
    models_folder: Annotated[Path, typer.Option("--models", help="Where the model's folder is written.")] = Path(
        "models"
    ),
    minutes: Annotated[
        float | None, typer.Option(help="Stop after the epoch that ends then; run again to go on.")
    ] = None,
) -> None:
    """Train a recipe and write its model folder with card; needs torch and onnx.

    Example: `vss train config/recipes/lmanet_erfnet_camvid.yaml --data ../shared/data/camvid`
    """
    from vss_ros.train.publish import prepare_training, publish
    from vss_ros.train.recipe import load_recipe

    logging.getLogger("vss_ros.train").setLevel(logging.INFO)
    read = load_recipe(recipe)
    training = prepare_training(read, folder / read.name, data)
    stages = training.run(data, minutes=minutes)
    if not training.finished:  # a half-trained model must not take the place of a trained one
        out.print(f"time is up; run again to go on from {training.folder}")
        return
    card = publish(training, stages, models_folder / read.name, data)
    out.print(
        f"{card.name} written to {card.folder}: {card.results.get('val', {}).get('miou', 'not measured')} mIoU on val"
    )


@app.command()
def models() -> None:
    """List the models that are installed, with what their cards say they reach.

    Example: `vss models`
    """
    from rich.table import Table

    from vss_ros.assemble import load_card, model_folders

    table = Table("model", "method", "net", "classes", "input", "mIoU (val)", "summary")
    for folder in model_folders():
        card = load_card(folder)
        size = f"{card.input_size[1]}x{card.input_size[0]}"
        miou = card.results.get("val", {}).get("miou")
        reached = "-" if miou is None else f"{miou:.3f}"
        table.add_row(card.name, card.method, card.host.name, str(len(card.labels)), size, reached, card.summary)
    out.print(table)


@app.command()
def planner_config(
    planner: Annotated[str, typer.Argument(help="Whose parameters: nav2 (semantic_segmentation_layer) or nvblox.")],
    model: Annotated[str, typer.Argument(help="Name under models/, or path of a model folder.")],
    prefix: Annotated[str, typer.Option("--topic-prefix", help="Of the labels' topics, as /vss/front.")] = "/vss",
    points: Annotated[
        str, typer.Option("--points", help="Topic of the organised point cloud, aligned with the labels.")
    ] = "/camera/depth/points",
    file: Annotated[Path | None, typer.Option("--out", help="File to write; without it the text is shown.")] = None,
) -> None:
    """Write a planner's parameters with the classes of a model, named exactly as the node publishes them.

    Example: `vss planner-config nav2 lmanet_erfnet_camvid`
    """
    from vss_ros.assemble import load_card
    from vss_ros.ros.planner import planner_config as text_for
    from vss_ros.ros.planner import write_config

    text = text_for(planner, load_card(model), prefix=prefix, points=points)
    if file is None:
        typer.echo(text, nl=False)  # as it is: rich would wrap lines and read brackets as colours
        return
    write_config(file, text)
    out.print(f"parameters for {planner} written to {file}", soft_wrap=True)


@app.command()
def doctor(
    graph: Annotated[bool, typer.Option("--graph", help="Look for topics of pictures on the live graph too.")] = False,
    topic: Annotated[str | None, typer.Option(help="The one that the node is to take; implies --graph.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Say what is installed, what is missing, and how to get it; exit code 1 if the node could not run.

    Example: `vss doctor --graph --topic /camera/image_raw`
    """
    from rich.markup import escape
    from rich.table import Table

    from vss_ros.doctor import examine

    findings = examine()
    if graph or topic:
        from vss_ros.ros.graph_doctor import examine_graph

        findings += examine_graph(topic)
    table = Table("what", "found", "remedy")
    for finding in findings:
        found = f"[{'green' if finding.good else 'red'}]{escape(finding.found)}[/]"
        table.add_row(escape(finding.what), found, escape(finding.remedy))
    out.print(table)
    if json_file:
        _write_json(json_file, {"findings": [vars(finding) for finding in findings]})
    if any(finding.needed and not finding.good for finding in findings):
        raise typer.Exit(1)


def load_settings_for(
    model: str = _DEFAULT_MODEL,
    slots: int = -1,
    window: int = -1,
    backend: str = "auto",
    threads: int = 0,
    file: Path | None = None,
) -> Settings:
    """Settings from a file and the options that differ from their defaults."""
    from vss_ros.assemble import load_settings

    said: dict[str, Any] = {
        "model.name": model,
        "memory.slots": slots,
        "memory.window": window,
        "runtime.backend": backend,
        "runtime.threads": threads,
    }
    defaults = Settings().flat()
    return load_settings(file, {key: value for key, value in said.items() if value != defaults[key]})


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
        labels, video = _fresh(folder / "labels"), folder / "overlay.mp4"
        sinks = [LabelsBag(labels, loaded.card), OverlayVideo(video, loaded.card, fps=10.0)]
    with _progress("segmenting", len(frames)) as tick:
        figures = run(frames, loaded.stream(), loaded.card.labels, sinks=sinks, real_time=real_time, progress=tick)
    for cause, count in frames.skipped.items():
        figures.dropped[cause] += count
    report = {"source": str(source), "model": loaded.card.name, "settings": settings.flat(), **figures.report()}
    out.print(figures_table(report, f"{loaded.card.name} on {title}"))
    if folder is not None:
        _write_json(folder / "report.json", report)
        for what, path in (("labels", labels), ("overlay", video), ("report", folder / "report.json")):
            out.print(f"{what:<8} {path}", soft_wrap=True)
    if json_file:
        _write_json(json_file, report)
    if figures.broken:
        raise figures.broken


def _fresh(path: Path) -> Path:
    """`path`, or the first of `path-2`, `path-3`... that does not exist: an earlier result is never overwritten."""
    candidates = (path if n == 1 else path.with_name(f"{path.name}-{n}") for n in range(1, 10_000))
    return next(candidate for candidate in candidates if not candidate.exists())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _progress(what: str, total: int) -> Iterator[Any]:
    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


if __name__ == "__main__":
    main()
