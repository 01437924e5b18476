# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Two runs of `vss evaluate` or `vss replay`, read from their JSON: what became better and what worse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vss_ros.core.errors import DataError
from vss_ros.evaluate.quantities import FLOOR, IOU, QUANTITIES, Quantity

_OF_A_MODEL = ("frames", "memory_slots", "memory_window", "input_size", "tc_flow")


@dataclass(frozen=True)
class Run:
    """One file: the models' reports by name, the floor left out, and what the figures depend on."""

    models: Mapping[str, Mapping[str, Any]]
    circumstances: Mapping[str, Any]


def read_run(path: Path) -> Run:
    """A file that `vss evaluate --json` or `vss replay --json` wrote.

    Raises:
        DataError: no such file, no JSON, or JSON of something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"figures of a run were wanted at {path}: {error}; write them with --json") from error
    is_replay = isinstance(content, dict) and "model" in content
    models = [content] if is_replay else content.get("models") if isinstance(content, dict) else None
    if not isinstance(models, list) or not all(isinstance(m, dict) and isinstance(m.get("model"), str) for m in models):
        raise DataError(f"{path} wants figures of `vss evaluate` or `vss replay`, got other JSON; write them anew")
    source = Path(str(content.get("source"))).name  # a replay says the path, an evaluation the name
    circumstances = {"source": source, **{key: content.get(key) for key in ("settings", "machine")}}
    return Run({model["model"]: model for model in models if model["model"] != FLOOR}, circumstances)


def compare(a: Run, b: Run) -> dict[str, Any]:
    """Models of one name side by side; where both runs have one model only, these two whatever their names.

    Returns:
        `models`: for each pair `a` and `b` (names), `figures` by key and `iou` by class, each with `a`, `b`,
        `difference` (b - a) and `verdict` (`better`, `worse`, `same`, or empty where neither is better);
        `differs`: by name what else differs between the runs, as `[a, b]`.

    Raises:
        DataError: the runs have no model in common.
    """
    names = [(name, name) for name in a.models if name in b.models]
    if not names and len(a.models) == len(b.models) == 1:
        names = [(next(iter(a.models)), next(iter(b.models)))]
    if not names:
        raise DataError(f"runs with a model in common were wanted, got {', '.join(a.models)} and {', '.join(b.models)}")
    differs = _differences(a.circumstances, b.circumstances)
    pairs = []
    for one, other in names:
        first, second = a.models[one], b.models[other]
        pairs.append({"a": one, "b": other, "figures": _figures(first, second), "iou": _ious(first, second)})
        of_model = _differences(*({key: m[key] for key in _OF_A_MODEL if key in m} for m in (first, second)))
        differs |= {f"{key} of {one}": values for key, values in of_model.items()}
    left = [", ".join(name for name in run.models if name not in {n for pair in names for n in pair}) for run in (a, b)]
    return {"models": pairs, "differs": differs | ({"models": left} if any(left) else {})}


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Where two mappings differ in what both say; inside groups that both have, key by key."""
    found: dict[str, list[Any]] = {}
    for key in (key for key in a if key in b):
        one, other = a[key], b[key]
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found |= {f"{key} {name}": values for name, values in _differences(one, other).items()}
        elif one != other and key != "model.name":  # that the models differ is what the comparison is about
            found[key] = [one, other]
    return found


def _figures(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    values = ((quantity, quantity.of(a), quantity.of(b)) for quantity in QUANTITIES)
    return {q.key: _judged(q, x, y) for q, x, y in values if x is not None and y is not None}


def _ious(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    one, other = a.get("iou") or {}, b.get("iou") or {}
    known = [name for name in one if one[name] is not None and other.get(name) is not None]
    return {name: _judged(IOU, one[name], other[name]) for name in known}


def _judged(quantity: Quantity, a: float, b: float) -> dict[str, Any]:
    """Equal to the digits that a table shows is the same: what is behind them is not a difference to speak of."""
    sign = quantity.better * (b - a)
    verdict = "same" if quantity.show(a) == quantity.show(b) else "better" if sign > 0 else "worse" if sign < 0 else ""
    return {"a": a, "b": b, "difference": b - a, "verdict": verdict}


def differs_line(differs: Mapping[str, list[Any]]) -> str:
    """One line that says what else differs between two runs; empty where nothing does."""
    said = (f"{key} ({_said(a)} / {_said(b)})" for key, (a, b) in differs.items())
    return f"the runs differ in more than their figures: {', '.join(said)}" if differs else ""


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return "said"
    return "not said" if value is None else str(value) or "none"
