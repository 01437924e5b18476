# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
