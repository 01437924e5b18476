# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Single-frame networks, nothing temporal; all of them need torch."""

from vss_ros.nets.erfnet import ERFNet

NETS = {"erfnet": ERFNet}
