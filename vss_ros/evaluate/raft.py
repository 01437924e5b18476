# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""RAFT as the optical flow of TC: Teed and Deng, "RAFT: Recurrent All-Pairs Field Transforms", ECCV 2020.

The network is torchvision's, the weights are a file that the user has; nothing is fetched. torch and torchvision are
optional, so they are imported when a flow is made.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from vss_ros.core.errors import BackendError, DataError
from vss_ros.core.frame import FloatArray, UInt8Array

_STRIDE = 8  # px that a cell of its features covers
_SHORTEST = 128  # px: four levels of correlations, and two cells of the coarsest


class RaftFlow:
    """Optical flow of torchvision's `raft_small` or `raft_large`, whichever the weights are of.

    Args:
        weights: a state dict as torchvision publishes it.

    Raises:
        BackendError: torch or torchvision is missing, or one does not fit the other.
        DataError: no such file, or one of something else.
    """

    def __init__(self, weights: Path) -> None:
        self._torch, networks = _libraries()
        state = _state_dict(self._torch, weights)
        size = "large" if any(name.startswith("mask_predictor.") for name in state) else "small"
        network = getattr(networks, f"raft_{size}")(weights=None, progress=False)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise DataError(_unlike(weights, "other weights")) from error
        self.name = f"RAFT {size} ({weights.name})"
        self._device = "cuda" if self._torch.cuda.is_available() else "cpu"
        self._network = network.eval().to(self._device)

    def __call__(self, before: UInt8Array, now: UInt8Array) -> FloatArray:
        """`(H, W, 2)` px from the first to the second of two `(H, W, 3)` RGB pictures."""
        height, width = before.shape[:2]
        pictures = (self._torch.from_numpy(_prepared(image)).to(self._device) for image in (before, now))
        with self._torch.inference_mode():
            flow = self._network(*pictures)[-1]  # the last of its refinements
        found: FloatArray = flow[0].permute(1, 2, 0)[:height, :width].cpu().numpy()
        return found


def _prepared(image: UInt8Array) -> FloatArray:
    """`(1, 3, h, w)` float32 in -1..1; right and below filled up with the border to a size that RAFT takes."""
    missing = [max(-(-side // _STRIDE) * _STRIDE, _SHORTEST) - side for side in image.shape[:2]]
    filled = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    return (filled.transpose(2, 0, 1)[None] / 127.5 - 1.0).astype(np.float32)


def _libraries() -> tuple[Any, Any]:
    """torch, and torchvision's networks for optical flow."""
    try:
        return importlib.import_module("torch"), importlib.import_module("torchvision.models.optical_flow")
    except (ImportError, RuntimeError) as error:  # RuntimeError: built for another torch
        raise BackendError(
            f"--flow raft wants torch and a torchvision that fits it: {error}; pip install torch torchvision"
        ) from error


def _state_dict(torch: Any, weights: Path) -> dict[str, Any]:
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"weights of RAFT were wanted at {weights}: {error}; give the path of the file") from error
    except Exception as error:  # on what is no pickle the unpickler stumbles over anything
        raise DataError(_unlike(weights, "no weights of torch")) from error
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise DataError(_unlike(weights, f"a {type(state).__name__}"))
    return state


def _unlike(weights: Path, got: str) -> str:
    return (
        f"{weights} wants a state dict of torchvision's raft_small or raft_large, got {got}; "
        "take a file that torchvision publishes"
    )
