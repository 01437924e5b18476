# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""ONNX Runtime on the CPU: the default without a GPU, and all a robot without torch needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vss_ros.attention import local_attention
from vss_ros.core.card import ModelCard
from vss_ros.core.cpus import usable_cpus
from vss_ros.core.errors import BackendError
from vss_ros.core.look import Look
from vss_ros.core.method import Outputs
from vss_ros.core.stage import StageSpec


class OnnxRuntime:
    """Runs a model folder's stages on numpy arrays.

    Args:
        card: the model.
        stages: what the plan wants of each file.
        threads: CPU threads, 0 = one for each usable core.

    Raises:
        BackendError: onnxruntime is not installed or refuses a file.
        CardError: a stage file is missing or damaged.
    """

    name = "onnx"

    def __init__(self, card: ModelCard, stages: Sequence[StageSpec], *, threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendError(
                f"backend 'onnx' wants the package onnxruntime, importing it gave: {error}; pip install onnxruntime"
            ) from error
        options = session_options(threads)
        self._threads: int = options.intra_op_num_threads
        self._specs = {spec.name: spec for spec in stages}
        self._sessions = {}
        for name in self._specs:
            path = card.stage_path(name)
            try:
                session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime raises its own classes, which differ between versions
                raise BackendError(
                    f"onnxruntime {onnxruntime.__version__} refuses {path}: {error}; export the model again"
                ) from error
            self._check_names(session, self._specs[name], path)
            self._sessions[name] = session

    def _check_names(self, session: Any, spec: StageSpec, path: object) -> None:
        wanted = [t.name for t in spec.inputs], [t.name for t in spec.outputs]
        found = [t.name for t in session.get_inputs()], [t.name for t in session.get_outputs()]
        if sorted(wanted[0]) != sorted(found[0]) or not set(wanted[1]) <= set(found[1]):
            raise BackendError(
                f"{path} wants tensors {wanted[0]} -> {wanted[1]}, the file has {found[0]} -> {found[1]}; "
                "export the model again"
            )

    def run(self, stage: str, /, **inputs: npt.NDArray[Any]) -> Outputs:
        """One stage, numpy in and out.

        Raises:
            StageError: the inputs are not those of the stage.
        """
        spec = self._specs[stage]
        spec.check_inputs(inputs)
        names = [t.name for t in spec.outputs]
        return dict(zip(names, self._sessions[stage].run(names, inputs), strict=True))

    def attend(
        self,
        query: npt.NDArray[np.float32],
        keys: npt.NDArray[np.float32],
        values: npt.NDArray[np.float32],
        look: Look,
        *,
        valid: npt.NDArray[np.bool_] | None = None,
        centres: npt.NDArray[np.integer[Any]] | None = None,
        sink: npt.NDArray[np.float32] | float | None = None,
    ) -> npt.NDArray[np.float32]:
        return local_attention(
            query, keys, values, look, valid=valid, centres=centres, sink=sink, threads=self._threads
        )

    def empty(self, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
        return np.empty(shape, dtype)

    def upload(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array

    def download(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array


def session_options(threads: int) -> Any:
    """`onnxruntime.SessionOptions` for stages between which a read runs: 0 threads = the usable cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cpus()
    options.log_severity_level = 3
    # idle workers that spin would take the cores from the attention kernel between two stages
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
