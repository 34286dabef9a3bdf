"""Any bytes as the start of a TLS stream: a hello, more needed, or BadPacket; and more bytes change no answer. What is
behind the first hello tells of the same second one in pieces as whole.
"""

from __future__ import annotations

from tunflow.errors import BadPacket
from tunflow.sniff.tls import BehindHello, ClientHello, is_v2_hello_untrusted, parse_records_untrusted

_NAME = b"\0\0\0\x10\0\x0e\0\0\x0bexample.com"
_ALPN = b"\0\x10\0\5\0\3\2h2"
_BODY = (
    b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0" + (len(_NAME) + len(_ALPN)).to_bytes(2, "big") + _NAME + _ALPN
)
_MESSAGE = b"\1" + len(_BODY).to_bytes(3, "big") + _BODY

SEEDS = [
    b"\x16\3\1" + len(_MESSAGE).to_bytes(2, "big") + _MESSAGE,
    b"\x16\3\3\0\x10" + _MESSAGE[:16] + b"\x16\3\3" + (len(_MESSAGE) - 16).to_bytes(2, "big") + _MESSAGE[16:],
    b"\x14\3\3\0\1\1\x17\3\3\0\2xy\x16\3\3" + len(_MESSAGE).to_bytes(2, "big") + _MESSAGE,
    b"\x80\x1c\1\3\3\0\3\0\0\0\x10\0\0\xff" + bytes(16),
]


def second_hello(data: bytes, cut: int) -> ClientHello | str | None:
    """The one behind a first hello, shown up to the cut and then all; or what else comes of it."""
    machine = BehindHello(ClientHello(None, (), False, True, True))
    passed = 0
    for end in (cut, len(data)):
        while passed < end:
            try:
                step = machine.look_untrusted(data[:end], passed)
            except BadPacket:
                return "refused"
            assert step.passed >= passed
            if step.is_over:
                return step.hello or "over"
            if step.passed == passed:
                break
            passed = step.passed
    return None


def one_input(data: bytes) -> None:
    """Parse it whole and its first half."""
    whole = second_hello(data, len(data))
    assert all(second_hello(data, cut) == whole for cut in {len(data) // 2, len(data) // 3, min(7, len(data))})
    begun = is_v2_hello_untrusted(data[: len(data) // 2])
    assert begun is None or begun == is_v2_hello_untrusted(data)
    try:
        early = parse_records_untrusted(data[: len(data) // 2])
    except BadPacket:
        return
    try:
        hello = parse_records_untrusted(data)
    except BadPacket:
        assert early is None
        return
    assert early is None or hello == early
    assert hello is None or hello.server_name is None or 0 < len(hello.server_name) <= 253
