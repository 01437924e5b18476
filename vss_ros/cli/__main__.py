# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

from vss_ros.cli import main

if __name__ == "__main__":
    main()
