# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from vss_ros.core.errors import StageError
from vss_ros.core.stage import StageSpec, TensorSpec

SPEC = StageSpec("fuse", (TensorSpec("seen", "float32", ("H/8", "W/8", 1, 16)),), ())


def test_shapes_follow_the_picture() -> None:
    assert SPEC.inputs[0].at(360, 480) == (45, 60, 1, 16)


def test_takes_what_it_specifies() -> None:
    SPEC.check_inputs({"seen": np.zeros((7, 9, 1, 16), np.float32)})


def test_refuses_another_width_of_channels() -> None:
    with pytest.raises(StageError, match=r"'fuse' wants seen .*16\), got \(7, 9, 1, 8\)"):
        SPEC.check_inputs({"seen": np.zeros((7, 9, 1, 8), np.float32)})


def test_refuses_other_names() -> None:
    with pytest.raises(StageError, match=r"wants \['seen'\], got \['saw'\]"):
        SPEC.check_inputs({"saw": np.zeros((7, 9, 1, 16), np.float32)})
