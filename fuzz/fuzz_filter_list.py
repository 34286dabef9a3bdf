"""Any text as a block list: every line is a rule, nothing, or a complaint."""

from __future__ import annotations

from contextlib import suppress

from tunflow.filter.block_list import BlockList
from tunflow.rules.expression import OutOfAllowance

SEEDS = [
    b"||example.com^\n@@||good.example.com^$important\n0.0.0.0 a.example b.example # x\n/ads[0-9]+/\n-banner-\n",
    b"ads*a*a*a*a*b^\n/(a+)+$/\n/[ab]{2,9}(?=c)/\n&^x^|\n||example*^b*\n",
    b"[Adblock Plus]\n! x\nexample.com##.ad\n*.example.net\nexample.org/path*\n|https://x|\n",
]


def one_input(data: bytes) -> None:
    """Read it and ask it."""
    made = BlockList("fuzz", data.decode("utf-8", errors="replace").splitlines())
    with suppress(OutOfAllowance):
        made.find("www.example.com", "http://www.example.com/ads7/x-banner-1")
    assert made.broken >= len(made.complaints) - 1
