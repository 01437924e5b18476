# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Fixtures shared by all floors: small models with random weights, and where the real data lies."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# a commit that was right yesterday shall not be wrong today; cases are new where a test asks for it, as slow ones do
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

PATIENCE_S = 20.0  # for what another thread does at once, on a machine that is busy

SHARED = Path(__file__).parents[2] / "shared" / "data"

needs_shared_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no development data at {SHARED}")


def random_model(
    folder: Path, method: str, net: str = "erfnet", *, input_size: tuple[int, int] = (64, 96), **options: Any
) -> Path:
    """A model folder with random weights and CamVid's 11 classes, exported as trained ones are."""
    torch = pytest.importorskip("torch")
    from vss_ros.assemble import build_stages, host_named, plan_for
    from vss_ros.data.labels import load_labels
    from vss_ros.runtimes.export import export_model

    torch.manual_seed(0)
    labels = load_labels("camvid11")
    plan, host = plan_for(method, options), host_named(net)
    stages = build_stages(method, plan, net, 11, mean=(0.4, 0.4, 0.4), std=(0.3, 0.3, 0.3))
    for module in stages.modules():  # a norm that starts at zero would hide the memory from the tests
        if isinstance(module, torch.nn.BatchNorm2d) and not module.weight.any():
            torch.nn.init.ones_(module.weight)
    card = {
        "name": folder.name,
        "summary": "Random weights, for tests.",
        "method": method,
        "options": options,
        "host": asdict(host),
        "labels": list(labels.names),
        "palette": labels.palette.tolist(),
        "input_size": list(input_size),
        "mean": [0.4, 0.4, 0.4],
        "std": [0.3, 0.3, 0.3],
        "limits": ["Knows nothing."],
        "licence": "Apache-2.0",
    }
    export_model(stages.eval(), plan, host, card, folder)
    return folder


@pytest.fixture(scope="session")
def lmanet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LMANet with random weights, 3 slots and a window of 5 cells."""
    return random_model(tmp_path_factory.mktemp("models") / "tiny_lmanet", "lmanet", slots=3, window=5)


@pytest.fixture(scope="session")
def single_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The single-frame method with random weights."""
    return random_model(tmp_path_factory.mktemp("models") / "tiny_single", "single")


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.002)


@pytest.fixture
def logged(logs_reach_pytest: None) -> Iterator[list[logging.LogRecord]]:
    """Records of the package; `caplog`, on the root, misses them where something lies between."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger("vss_ros")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


@pytest.fixture(autouse=True)
def logs_reach_pytest() -> None:
    """With ROS sourced, launch's pytest plugin cuts new loggers off the root, where `caplog` listens."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("vss_ros") and isinstance(logger, logging.Logger):
            logger.propagate = True
