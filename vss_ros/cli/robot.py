# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Commands for the robot: `node`, `planner-config`, `doctor`."""

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
    Window,
    app,
    load_settings_for,
    out,
    say,
    write_json,
)


@app.command()
def node(
    transport: Annotated[
        str, typer.Option(help="auto, rclpy or dds; auto = rclpy if ROS 2 is there, else dds.")
    ] = "auto",
    image_topic: Annotated[str, typer.Option(help="Pictures; with commas for several cameras.")] = "",
    camera_info_topic: Annotated[str, typer.Option(help="CameraInfo, likewise; not needed for labels.")] = "",
    image_transport: Annotated[str, typer.Option(help="raw, compressed, ffmpeg or foxglove.")] = "raw",
    points: Annotated[str, typer.Option(help="Labelled points from depth or cloud; none leaves them out.")] = "none",
    points_topic: Annotated[str, typer.Option(help="Registered depth, or organised clouds, likewise.")] = "",
    namespace: Annotated[str, typer.Option(help="Of the node and of the topics it publishes.")] = "vss",
    model: ModelName = DEFAULT_MODEL,
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
    say(f"parameters for {planner} written to {file}")


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
        write_json(json_file, {"findings": [vars(finding) for finding in findings]})
    if any(finding.needed and not finding.good for finding in findings):
        raise typer.Exit(1)
