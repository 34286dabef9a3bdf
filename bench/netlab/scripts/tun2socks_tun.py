"""`tun2socks_tun.py DEVICE INTERFACE PROXY`: xjasonlyu/tun2socks from its wheel, until killed."""

from __future__ import annotations

import signal
import sys

import tun2socks

signal.signal(signal.SIGTERM, signal.SIG_DFL)
tun2socks.startFromArgs(f"tun://{sys.argv[1]}", sys.argv[2], "error", sys.argv[3], "")
signal.pause()
