# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Raw CDR through the C library of the cyclonedds wheel.

The wheel's own way makes a Python object of every pixel. These calls hand over the bytes, and release the interpreter
lock while the library works.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

import numpy as np
from cyclonedds.core import DDSException
from cyclonedds.internal import DDS, dds_c_t
from cyclonedds.pub import DataWriter
from cyclonedds.qos import Policy, Qos
from cyclonedds.sub import DataReader
from cyclonedds.util import duration

from vss_ros.ros.dds_names import Profile, padded

_library: Any = DDS._dll_handle
_write, _take_next, _free = (_library[name] for name in ("dds_write", "dds_take_next", "dds_free"))
_write.argtypes, _write.restype = (dds_c_t.entity, ctypes.c_void_p), ctypes.c_int32
_take_next.argtypes, _take_next.restype = (dds_c_t.entity, ctypes.c_void_p, ctypes.c_void_p), ctypes.c_int32
_free.argtypes, _free.restype = (ctypes.c_void_p,), None


class _Sample(ctypes.Structure):
    """What the wheel's C extension calls a sample: CDR bytes with their header."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t))


class RawWriter(DataWriter[Any]):
    """Writes CDR bytes."""

    def write_cdr(self, cdr: Any) -> None:
        """Returns when the bytes are copied; waits while a reliable reader lags behind.

        Raises:
            DDSException: a reliable reader lagged too long, or the participant is gone.
        """
        payload = np.frombuffer(padded(cdr), np.uint8)
        sample = _Sample(payload.ctypes.data, payload.nbytes)
        done = _write(self._ref, ctypes.byref(sample))
        if done < 0:
            raise DDSException(done, "Occurred while writing raw CDR")


class RawReader(DataReader[Any]):
    """Takes CDR bytes."""

    def take_cdr(self) -> memoryview | None:
        """The next message, which stays valid as long as the view or anything made of it; None if there is none."""
        while True:
            sample, info = _Sample(None, 0), dds_c_t.sample_info()
            place = ctypes.c_void_p(ctypes.addressof(sample))
            taken = _take_next(self._ref, ctypes.byref(place), ctypes.byref(info))
            if taken < 0:
                raise DDSException(taken, "Occurred while taking raw CDR")
            if taken == 0 or not sample.data:
                return None
            if not info.valid_data:  # news about a writer, not from it
                _free(sample.data)
                continue
            buffer = (ctypes.c_uint8 * sample.size).from_address(sample.data)
            weakref.finalize(buffer, _free, sample.data)
            return memoryview(buffer).cast("B")


def dds_qos(profile: Profile, user_data: bytes) -> Qos:
    """The QoS that rmw_cyclonedds gives an endpoint of this profile, which decides whether ROS nodes match it."""
    history = Policy.History.KeepLast(profile.depth)
    policies: list[Any] = [
        history,
        Policy.Userdata(user_data),
        Policy.WriterDataLifecycle(autodispose=False),
        Policy.DataRepresentation(use_cdrv0_representation=True, use_xcdrv2_representation=False),
    ]
    if profile.reliable:
        # rmw waits for ever; a viewer that hangs must not stop the labels of all others for longer than this
        policies.append(Policy.Reliability.Reliable(max_blocking_time=duration(seconds=1)))
    else:
        policies.append(Policy.Reliability.BestEffort)
    if profile.latched:
        # Cyclone DDS keeps for late readers what the durability service says, not the history
        policies += [
            Policy.Durability.TransientLocal,
            Policy.DurabilityService(
                cleanup_delay=0, history=history, max_samples=-1, max_instances=-1, max_samples_per_instance=-1
            ),
        ]
    else:
        policies.append(Policy.Durability.Volatile)
    return Qos(*policies)
