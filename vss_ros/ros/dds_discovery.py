# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Where to look for other nodes: the environment variables of ROS 2 as a configuration of Cyclone DDS."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from vss_ros.core.errors import ConfigError

log = logging.getLogger(__name__)

_RANGES = ("SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT")
_RMEM_MAX = Path("/proc/sys/net/core/rmem_max")
_PICTURE_BYTES = 1280 * 720 * 3
_LOOPBACK = '<Interfaces><NetworkInterface address="127.0.0.1" multicast="false"/></Interfaces>'
# `max` asks the kernel for as much as it gives; `min` would refuse to start where it gives less
_BUFFERS = '<Internal><SocketReceiveBufferSize max="8MB"/></Internal>'


@dataclass(frozen=True)
class Discovery:
    """Domain, range and static peers, as `rcl` reads them from the environment."""

    domain: int = 0
    range: str = "SUBNET"
    peers: tuple[str, ...] = ()
    extra: str = ""  # CYCLONEDDS_URI, which has the last word

    def xml(self) -> str:
        """The configuration that rmw_cyclonedds makes of the same variables, with larger receive buffers."""
        own = _BUFFERS
        if self.range in ("LOCALHOST", "OFF"):
            # rmw leaves the choice of the interface open; Cyclone DDS 11 on a network card and an older one on the same
            # machine then miss each other, on the loopback they do not
            bound = self.range == "LOCALHOST" and not self.peers and not self._extra_chooses_interface()
            only = _LOOPBACK if bound else ""
            own += f"<General>{only}<AllowMulticast>false</AllowMulticast></General>"
        if self.range == "OFF":
            # nobody else has this tag, so nobody is found
            own += f"<Discovery><ParticipantIndex>none</ParticipantIndex><Tag>ros_discovery_off_{os.getpid()}</Tag>"
            own += "</Discovery>"
        elif self.range != "SYSTEM_DEFAULT":
            peers = [*(["127.0.0.1"] if self.range == "LOCALHOST" else []), *self.peers]
            listed = "".join(f"<Peer address={quoteattr(peer)}/>" for peer in peers)
            own += "<Discovery><ParticipantIndex>auto</ParticipantIndex>"
            own += "<MaxAutoParticipantIndex>32</MaxAutoParticipantIndex>"
            own += f"{f'<Peers>{listed}</Peers>' if listed else ''}</Discovery>"
        return f"<CycloneDDS><Domain>{own}</Domain></CycloneDDS>" + (f",{self.extra}" if self.extra else "")

    def _extra_chooses_interface(self) -> bool:
        """Whether CYCLONEDDS_URI may name an interface: Cyclone DDS refuses to start if one is named twice."""
        return "Interface" in self.extra or (bool(self.extra) and "<" not in self.extra)


def discovery_of(environment: Mapping[str, str]) -> Discovery:
    """What the environment asks for.

    Raises:
        ConfigError: ROS_DOMAIN_ID is no domain.
    """
    domain = environment.get("ROS_DOMAIN_ID") or "0"
    if not domain.isascii() or not domain.isdigit() or int(domain) > 232:
        raise ConfigError(f"ROS_DOMAIN_ID wants a number from 0 to 232, got '{domain}'; unset it or choose one")
    chosen = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE") or "SUBNET"
    if environment.get("ROS_LOCALHOST_ONLY") == "1":
        chosen = "LOCALHOST"
    if chosen not in _RANGES:
        log.warning("ROS_AUTOMATIC_DISCOVERY_RANGE wants one of %s, got '%s'; LOCALHOST is taken", _RANGES, chosen)
        chosen = "LOCALHOST"
    peers = tuple(peer.strip() for peer in environment.get("ROS_STATIC_PEERS", "").split(";") if peer.strip())
    if peers and chosen in ("OFF", "SYSTEM_DEFAULT"):
        log.warning("ROS_STATIC_PEERS is ignored because ROS_AUTOMATIC_DISCOVERY_RANGE is %s", chosen)
        peers = ()
    return Discovery(int(domain), chosen, peers, environment.get("CYCLONEDDS_URI", "").strip(" ,"))


def granted_buffer() -> int | None:
    """The largest receive buffer in bytes that the kernel gives a socket; None where it cannot be asked."""
    try:
        return int(_RMEM_MAX.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def warn_of_small_buffer(granted: int | None) -> bool:
    """Say that raw pictures will be lost, where the kernel's buffer is smaller than one of 720p."""
    if granted is None or granted >= _PICTURE_BYTES:
        return False
    log.warning(
        "receive buffers of at least %d bytes are wanted for raw 720p pictures, the kernel grants %d, so large "
        "pictures will be lost; run 'sudo sysctl -w net.core.rmem_max=8388608', or use compressed pictures",
        _PICTURE_BYTES,
        granted,
    )
    return True
