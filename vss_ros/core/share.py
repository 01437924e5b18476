# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the package's own files lie: `config`, `models` and `launch`, in a checkout or after any kind of install."""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterator
from pathlib import Path

from vss_ros.core.errors import ConfigError

KINDS = ("config", "models", "launch")
_PACKAGE = "vss_ros"


def share_folder(kind: str) -> Path:
    """The folder of this package's files of one kind.

    Looked for beside the running code first (a checkout, then the prefix the code was installed under), so that a
    sourced workspace with another version of the package does not mix its files in; then in `AMENT_PREFIX_PATH`,
    `sys.prefix` and the user's prefix.

    Args:
        kind: `config`, `models` or `launch`.

    Raises:
        ConfigError: an unknown kind, or a folder that is nowhere.
    """
    if kind not in KINDS:
        raise ConfigError(f"share_folder wants one of {', '.join(KINDS)}, got {kind!r}")
    candidates = [folder / kind for folder in _share_candidates(Path(__file__).resolve())]
    for folder in candidates:
        if folder.is_dir():
            return folder
    looked = ", ".join(str(folder) for folder in dict.fromkeys(candidates))
    raise ConfigError(
        f"the package's {kind!r} folder was wanted, but is in none of: {looked}; "
        f"install {_PACKAGE} again, or source the workspace that holds it"
    )


def _share_candidates(here: Path) -> Iterator[Path]:
    """Folders that may hold the package's files, best first; `here` is this file inside the package."""
    root = here.parents[2]
    # In site-packages the parent folder may hold somebody else's `models`: only a real checkout has the manifest.
    if any((root / mark).exists() for mark in ("package.xml", ".git")):
        yield root
    for prefix in here.parents[2:]:
        yield prefix / "share" / _PACKAGE
    for prefix_text in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix_text:
            yield Path(prefix_text) / "share" / _PACKAGE
    yield Path(sys.prefix) / "share" / _PACKAGE
    if site.USER_BASE:
        yield Path(site.USER_BASE) / "share" / _PACKAGE
