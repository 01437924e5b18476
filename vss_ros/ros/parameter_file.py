# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The parameters file and the table of the documentation, written from the settings' declarations.

`python -m vss_ros.ros.parameter_file` writes `config/segmenter.yaml` anew; a test compares it.
"""

from __future__ import annotations

import sys
from itertools import groupby

import yaml

from vss_ros.core.config import Declaration, Value, declarations

_HEAD = """\
# Parameters of the node `segmenter`, with their defaults. Written from the declarations in vss_ros/core/config.py by
# `python -m vss_ros.ros.parameter_file`; copy it, change the copy, and give it to the launch file as params_file.
# "live" parameters may be changed while the node runs; all others are read when the node starts.
"""


def parameters_yaml() -> str:
    """A ROS parameters file with every setting, its default, and what it means."""
    lines = [_HEAD, "/**:\n", "  ros__parameters:\n"]
    for group, declared in groupby(declarations(), key=lambda d: d.group):
        lines.append(f"    {group}:\n")
        for d in declared:
            lines.append(f"      # {d.says}\n")
            notes = allowed(d) + (["live"] if d.live else [])
            lines += [f"      # {'; '.join(notes)}\n"] if notes else []
            lines.append(f"      {d.name}: {as_yaml(d.default)}\n")
    return "".join(lines)


def parameters_table() -> str:
    """The same as a Markdown table."""
    lines = ["| parameter | type | default | allowed | live | meaning |\n", "|---|---|---|---|---|---|\n"]
    for d in declarations():
        live = "yes" if d.live else "no"
        default = f"`{as_yaml(d.default)}`"
        lines.append(f"| `{d.key}` | {d.type.__name__} | {default} | {', '.join(allowed(d))} | {live} | {d.says} |\n")
    return "".join(lines)


def allowed(d: Declaration) -> list[str]:
    """Unit, range and choices of a setting, as far as it has them."""
    notes = [f"one of {', '.join(d.choices)}"] if d.choices else []
    if d.low is not None and d.high is not None:
        notes.append(f"{d.low:.10g}..{d.high:.10g} {d.unit}".rstrip())
    elif d.unit:
        notes.append(d.unit)
    return notes


def as_yaml(value: Value) -> str:
    """A value as it stands in a YAML file."""
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


if __name__ == "__main__":
    from vss_ros.core.share import share_folder

    (share_folder("config") / "segmenter.yaml").write_text(parameters_yaml(), encoding="utf-8")
    sys.stdout.write(parameters_table())
