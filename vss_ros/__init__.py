# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Streaming video semantic segmentation for robots: a frame in, a label for every pixel out."""

__version__ = "0.1.0"
