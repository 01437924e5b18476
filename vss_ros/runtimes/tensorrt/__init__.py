# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""TensorRT from 8.5 to 11: engines of the stages, their cache, and the runtime. NOT YET RUN ON A GPU."""
