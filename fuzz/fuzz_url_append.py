"""Any bytes as a client's HTTP stream, to whose URLs something is added: without that it is what it was."""

from __future__ import annotations

from fuzz_filter_http import SEEDS
from tunflow.errors import BadPacket
from tunflow.filter.url_append import URLAppender

TEXT = "!~~append~~!"

__all__ = ["SEEDS"]


def one_input(data: bytes) -> None:
    """Show it in two halves, take it in three parts."""
    if TEXT.encode() in data:
        return
    appender, passed = URLAppender(TEXT), 0
    try:
        for end in (len(data) // 2, len(data)):
            if passed < end:
                passed += appender.look_untrusted(passed, data[passed:end]).passed
    except BadPacket:
        pass
    third = len(data) // 3
    left = b"".join(appender.append([data[:third], data[third : 2 * third]])) + b"".join(
        appender.append([data[2 * third :]])
    )
    assert left.replace(TEXT.encode(), b"") == data
