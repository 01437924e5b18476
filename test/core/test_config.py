# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

import pytest

from vss_ros.core.config import Settings, declarations, parse_size
from vss_ros.core.errors import ConfigError


def test_every_setting_is_declared_with_a_sentence_and_its_own_default() -> None:
    flat = Settings().flat()
    assert [d.key for d in declarations()] == list(flat)
    for d in declarations():
        assert d.says.endswith(".") and type(d.default) is d.type and flat[d.key] == d.default


def test_nested_and_dotted_values_mean_the_same() -> None:
    nested = Settings().with_values({"memory": {"slots": 2}, "confidence": {"min": 1}})
    dotted = Settings().with_values({"memory.slots": 2, "confidence.min": 1.0})
    assert nested == dotted and nested.memory.slots == 2 and nested.confidence.min == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"memory.slot": 2}, r"no setting 'memory.slot'; did you mean 'memory.slots'\?"),
        ({"zzz": 2}, r"no setting 'zzz'; known are model.name"),
        ({"memory.slots": "four"}, r"memory.slots wants int, got 'four' \(str\)"),
        ({"memory.slots": True}, r"memory.slots wants int, got True \(bool\)"),
        ({"memory.slots": 65}, r"memory.slots wants -1..64 frames, got 65"),
        ({"confidence.min": float("nan")}, r"confidence.min wants 0..1 probability, got nan"),
        ({"runtime.backend": "tpu"}, r"runtime.backend wants one of auto, onnx, tensorrt, torch, got 'tpu'"),
        ({"output.size": "big"}, r"output.size wants camera, model or WIDTHxHEIGHT such as 640x480, got 'big'"),
    ],
)
def test_refuses_with_one_sentence(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings().with_values(values)


def test_a_refused_change_changes_nothing() -> None:
    settings = Settings()
    with pytest.raises(ConfigError):
        settings.with_values({"memory.slots": 2, "memory.window": 999})
    assert settings == Settings()


def test_sizes_are_written_width_first() -> None:
    assert parse_size("640x480", "output.size", ()) == (480, 640)
