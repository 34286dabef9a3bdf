"""Names that must have their real addresses even where others get fake ones.

Why: a fake address is good for whoever opens a connection to it through the tunnel, and for nobody else. Clocks are set
by servers whose address the program keeps or compares (NTP); STUN and games tell their addresses to others; a system
asks for its portal-check names to see whether there is a network at all; and a LAN's names are nobody's but the LAN's
(RFC 6761, RFC 6762, RFC 8375). Users of fake addresses know the list from mihomo's `fake-ip-filter`.
"""

from __future__ import annotations

_SUFFIXES_TEXT = """
local lan localdomain localhost home.arpa internal intranet corp home private test invalid arpa
pool.ntp.org ntp.org ntp.org.cn time.edu.cn time.windows.com time.apple.com time.android.com time.cloudflare.com
time.nist.gov time.facebook.com time.aws.com time.google.com
msftconnecttest.com msftncsi.com connectivitycheck.gstatic.com connectivitycheck.android.com captive.apple.com
detectportal.firefox.com nmcheck.gnome.org network-test.debian.org connectivity-check.ubuntu.com
xboxlive.com srv.nintendo.net stun.playstation.net localhost.ptlogin2.qq.com
"""
_SUFFIXES = frozenset(_SUFFIXES_TEXT.split())
_FIRST_LABELS = frozenset(
    {"ntp", "time", "stun", *(f"{kind}{number}" for kind in ("ntp", "time") for number in range(8))}
)


def is_real_by_nature(name: str) -> bool:
    """Return True if a name (lower case, without the last dot) is one of those."""
    if name.partition(".")[0] in _FIRST_LABELS:
        return True
    while name:
        if name in _SUFFIXES:
            return True
        name = name.partition(".")[2]
    return False
