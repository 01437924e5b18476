# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Commands about TensorRT engines: `engines list`, `engines build`, `engines clear`."""

from __future__ import annotations

import logging
from time import localtime, perf_counter, strftime
from typing import Annotated

import typer

from vss_ros.cli.options import DEFAULT_MODEL, JsonFile, SettingsFile, app, out, say, write_json
from vss_ros.core.config import parse_size
from vss_ros.core.errors import ConfigError
from vss_ros.core.prepare import like

engines = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="TensorRT engines kept on this machine.")
app.add_typer(engines, name="engines")

_MEGABYTE = 1_000_000
_OF_FILE = "that of --settings"


@engines.command("list")
def list_engines(json_file: JsonFile = None) -> None:
    """List the engines of the cache, the one least lately used first.

    Example: `vss engines list`
    """
    from rich.markup import escape
    from rich.table import Table

    from vss_ros.runtimes.tensorrt.cache import EngineCache

    cache = EngineCache()
    table = Table("engine", "TensorRT", "GPU", "MB", "built in", "last used")
    found = cache.entries()
    for entry in found:
        key = entry.about["key"]
        library, by = key["tensorrt"], entry.about.get("built_by")
        if by and by != library:  # a version-compatible one is found by the major version
            library = f"{library} (built by {by})"
        texts = entry.label, library, f"{key['gpu']} ({key['capability']})", f"{entry.bytes / _MEGABYTE:.1f}"
        seconds, used = f"{entry.about['build_seconds']:.0f} s", strftime("%Y-%m-%d %H:%M", localtime(entry.used))
        table.add_row(*map(escape, (*texts, seconds, used)))
    out.print(table if found else "no engines yet")
    say(f"{len(found)} engines, {sum(e.bytes for e in found) / _MEGABYTE:.1f} MB in {cache.folder}")
    if json_file:
        listed = [{"digest": e.digest, "bytes": e.bytes, "used": e.used, **e.about} for e in found]
        write_json(json_file, {"folder": str(cache.folder), "engines": listed})


@engines.command("build")
def build_engines(
    model: Annotated[
        str | None,
        typer.Argument(help=f"Name under models/, or path of a model folder; else {_OF_FILE}, {DEFAULT_MODEL}."),
    ] = None,
    size: Annotated[
        str | None, typer.Option("--size", help=f"Picture of the network, WIDTHxHEIGHT px, or model; else {_OF_FILE}.")
    ] = None,
    camera: Annotated[
        str | None,
        typer.Option("--camera", help="Picture of the camera, WIDTHxHEIGHT px; the network's is then the node's."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help=f"fp16, fp32 or int8; else {_OF_FILE}, fp16.")
    ] = None,
    settings: SettingsFile = None,
) -> None:
    """Build a model's engines for this machine's GPU before the node needs them; may take minutes.

    They are checked on the model's golden frames, as in the node, which builds what it does not find. Give the settings
    file that the node gets: its model, picture, memory and build options count.

    Example: `vss engines build lmanet_erfnet_camvid --camera 1280x720`
    """
    from vss_ros.assemble import engine_preparation, load_card, load_settings, plan_of, stream_options

    if size and camera:
        raise ConfigError(f"one of --size and --camera was wanted, got {size} and {camera}; leave one out")
    if size:
        parse_size(size, "--size", ("model",))
    said = {"model.name": model, "model.input_size": size, "runtime.precision": precision}
    chosen = load_settings(settings, {key: value for key, value in said.items() if value is not None})
    card = load_card(chosen.model.name)
    seen = parse_size(camera, "--camera", ()) if camera else card.input_size
    assert not isinstance(seen, str), "no words are taken"
    picture = stream_options(card, chosen).input_size or like(seen, card.input_size, card.host.stride)
    logging.getLogger("vss_ros.runtimes.tensorrt").setLevel(logging.INFO)
    plan = plan_of(card, chosen)
    prepare = engine_preparation(card, plan, chosen)
    started = perf_counter()
    prepared = prepare(picture, lambda step: say(f"{step.what} ({step.number} of {step.of})"))
    seconds = perf_counter() - started
    where = f"{card.name}: engines for {picture[1]}x{picture[0]} px"
    say(f"{where} are ready after {seconds:.0f} s: {prepared.says}")


@engines.command("clear")
def clear_engines(
    days: Annotated[
        float | None, typer.Option("--unused-for", min=0, help="Only those not used for so many days.")
    ] = None,
    megabytes: Annotated[
        float | None, typer.Option("--keep", min=0, help="Only the least lately used, until this many MB are left.")
    ] = None,
) -> None:
    """Remove engines from the cache, all or those that the options say; engines in use by a build stay.

    Example: `vss engines clear --unused-for 30 --keep 2000`
    """
    from vss_ros.runtimes.tensorrt.cache import EngineCache

    cache = EngineCache()
    if days is None and megabytes is None:
        removed = cache.clear()
    else:
        most = None if megabytes is None else int(megabytes * _MEGABYTE)
        removed = cache.prune(max_age_days=days, max_bytes=most)
    freed = sum(entry.bytes for entry in removed) / _MEGABYTE
    say(f"{len(removed)} engines removed, {freed:.1f} MB freed in {cache.folder}")
