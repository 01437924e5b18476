# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One error class per floor. Every message says what was wanted, what came and what to do.

Raised once, caught once: the faces (CLI, node, replay) catch `VssError` and print it as one sentence.
"""


class VssError(Exception):
    """Anything this package refuses; the message is fit to be shown to a user."""


class ConfigError(VssError):
    """A configuration key or value that does not exist or is out of range."""


class FrameError(VssError):
    """A frame that cannot be segmented; the stream goes on with the next one."""


class CardError(VssError):
    """A model folder that is incomplete, damaged or does not fit the method."""


class StageError(VssError):
    """A stage that is missing, or was fed tensors other than its specification."""


class AttentionError(VssError):
    """Local attention was called with shapes, dtypes or options it does not define."""


class DataError(VssError):
    """A bag, video, image or data set that cannot be read or written."""


class BackendError(VssError):
    """A backend whose library is not installed, or that refused the model."""


class TrainError(VssError):
    """A training recipe or checkpoint that cannot be used."""
