"""`offload.py INTERFACE on|off`: its checksum and segmentation offload. Off, it is like an old network card.

Read first: Linux include/uapi/linux/ethtool.h.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
import sys

SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO = 0x17, 0x1F, 0x24

with socket.socket() as control:
    for command in (ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO):
        value = array.array("B", struct.pack("II", command, sys.argv[2] == "on"))
        fcntl.ioctl(control, SIOCETHTOOL, struct.pack("16sP16x", sys.argv[1].encode(), value.buffer_info()[0]))
