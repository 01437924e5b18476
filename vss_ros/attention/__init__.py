# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Local attention: one operator, one definition, and kernels that are tested against it."""

from vss_ros.attention.operator import explain, local_attention

__all__ = ["explain", "local_attention"]
