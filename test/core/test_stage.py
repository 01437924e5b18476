# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from vss_ros.core.errors import StageError
from vss_ros.core.stage import StageSpec, TensorSpec

SPEC = StageSpec("fuse", (TensorSpec("seen", "float32", ("H/8", "W/8", 1, 16)),), ())


def test_shapes_follow_the_picture() -> None:
    assert SPEC.inputs[0].at(360, 480) == (45, 60, 1, 16)


def test_a_list_holds_a_share_of_the_cells_rounded_down() -> None:
    spec = TensorSpec("positions", "int32", ("50% of H/8*W/8", 2))
    assert spec.at(360, 480) == (45 * 60 // 2, 2) and spec.at(24, 40) == (7, 2)
    assert TensorSpec("query", "float32", ("29% of H*W", 8)).at(10, 10) == (29, 8)
    assert spec.is_list and not SPEC.inputs[0].is_list


def test_takes_what_it_specifies() -> None:
    SPEC.check_inputs({"seen": np.zeros((7, 9, 1, 16), np.float32)})


def test_refuses_another_width_of_channels() -> None:
    with pytest.raises(StageError, match=r"'fuse' wants seen .*16\), got \(7, 9, 1, 8\)"):
        SPEC.check_inputs({"seen": np.zeros((7, 9, 1, 8), np.float32)})


def test_refuses_other_names() -> None:
    with pytest.raises(StageError, match=r"wants \['seen'\], got \['saw'\]"):
        SPEC.check_inputs({"saw": np.zeros((7, 9, 1, 16), np.float32)})
