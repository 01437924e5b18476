# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Stages: pure networks from named tensors to named tensors, each exportable alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from vss_ros.core.errors import StageError

# a number of entries; or "H", "W", "H/8", "W/8": the picture's size over a stride; or, of a list of some of its cells,
# "50% of H/8*W/8", rounded down
Dim = int | str


def resolve(dim: Dim, height: int, width: int) -> int:
    """The number of entries that `dim` stands for when the picture is `height` x `width` px."""
    if isinstance(dim, int):
        return dim
    percent, _, cells = dim.rpartition("% of ")
    if percent:
        return int(percent) * prod(resolve(side, height, width) for side in cells.split("*")) // 100
    axis, _, stride = dim.partition("/")
    whole = {"H": height, "W": width}[axis]
    return whole // int(stride or 1)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, dtype and shape of a tensor between stages; shape entries may be "H/8" or "50% of H/8*W/8"."""

    name: str
    dtype: str
    shape: tuple[Dim, ...]

    def at(self, height: int, width: int) -> tuple[int, ...]:
        """The shape for a picture of `height` x `width` px."""
        return tuple(resolve(dim, height, width) for dim in self.shape)

    @property
    def is_list(self) -> bool:
        """Is it of some of the picture's cells only, as "50% of H/8*W/8" says."""
        return any(isinstance(dim, str) and "%" in dim for dim in self.shape)


@dataclass(frozen=True, slots=True)
class StageSpec:
    """What a stage takes and gives; the contract between plan, torch module and exported file."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def check_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Refuse a call whose tensors are not the ones this stage wants.

        Raises:
            StageError: a name is missing or unknown, or a rank or fixed dimension differs.
        """
        wanted = {spec.name: spec for spec in self.inputs}
        if wanted.keys() != inputs.keys():
            raise StageError(
                f"stage '{self.name}' wants {sorted(wanted)}, got {sorted(inputs)}; check the method's plan"
            )
        for name, spec in wanted.items():
            shape = tuple(inputs[name].shape)
            fits = len(shape) == len(spec.shape) and all(
                not isinstance(want, int) or want == got for want, got in zip(spec.shape, shape, strict=True)
            )
            if not fits:
                raise StageError(
                    f"stage '{self.name}' wants {name} {spec.shape}, got {shape}; "
                    "the model's options and its files disagree, export it again"
                )
