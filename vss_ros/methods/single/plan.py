# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The single-frame method: no memory, the yardstick every temporal method is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vss_ros.core.memory import Bank, BankSpec
from vss_ros.core.method import CONFIDENCE, IMAGE, LABELS, Attend, Host, Outputs, Run, StepInput, features_spec
from vss_ros.core.stage import StageSpec


@dataclass(frozen=True)
class Single:
    """Encode and decode every frame by itself."""

    name = "single"

    def stages(self, host: Host) -> tuple[StageSpec, ...]:
        features = features_spec(host)
        return (StageSpec("encode", (IMAGE,), (features,)), StageSpec("decode", (features,), (LABELS, CONFIDENCE)))

    def banks(self, host: Host) -> tuple[BankSpec, ...]:
        return ()

    def step(self, x: StepInput, memory: Mapping[str, Bank], run: Run, attend: Attend) -> Outputs:
        return run("decode", features=run("encode", image=x.image)["features"])


PLAN = Single
