"""Who is connected to this host from outside, and the rules that answer him."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from tunflow.host.network.reply_routes import HostSession, chains, sessions

TCP = """  sl  local_address rem_address   st tx_queue rx_queue
   0: 00000000:0016 00000000:0000 0A 00000000:00000000
   1: 0201A8C0:0016 057100CB:C001 01 00000000:00000000
   2: 0201A8C0:9C40 08080808:01BB 01 00000000:00000000
   3: 0100007F:0016 0100007F:C002 01 00000000:00000000
   4: 0201A8C0:0016 067100CB:C003 06 00000000:00000000
   5:
"""
TCP6 = """  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A
   1: 0000000000000000FFFF00000201A8C0:0050 0000000000000000FFFF0000077100CB:C004 01
   2: B80D0120000000000000000001000000:0050 B80D0120000000000000000007000000:C005 01
"""


def test_the_sessions_that_others_opened(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(TCP)
    (tmp_path / "tcp6").write_text(TCP6)
    assert sessions([tmp_path / "tcp", tmp_path / "tcp6", tmp_path / "none"]) == (
        HostSession(22, ip_address("203.0.113.5"), 0xC001),
        HostSession(80, ip_address("203.0.113.7"), 0xC004),
        HostSession(80, ip_address("2001:db8::7"), 0xC005),
    )


def test_the_rules_mark_what_outside_asked_for() -> None:
    standing = [HostSession(22, ip_address("203.0.113.5"), 50000)]
    text = "\n".join(chains(0x2743, ["eth1", "eth0"], standing))
    assert 'iifname { "eth0", "eth1" } ct state new ct mark 0 tcp flags & (syn | ack) == syn' in text
    assert "elements = { 22 . 203.0.113.5 . 50000 }" in text
    assert "older6" not in text
    assert chains(0x2743, [], standing) == []
