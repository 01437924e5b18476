# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Single-frame networks, nothing temporal; all of them need torch."""

from typing import Any

from vss_ros.nets.bisenet import BiSeNet18, BiSeNet34
from vss_ros.nets.erfnet import ERFNet
from vss_ros.nets.pspnet import PSPNet18, PSPNet18CamVid, PSPNet50, PSPNet101

NETS: dict[str, Any] = {  # classes that make a `stages.HostNet` for a number of labels
    "erfnet": ERFNet,
    "pspnet18": PSPNet18,
    "pspnet18_camvid": PSPNet18CamVid,
    "pspnet50": PSPNet50,
    "pspnet101": PSPNet101,
    "bisenet18": BiSeNet18,
    "bisenet34": BiSeNet34,
}
