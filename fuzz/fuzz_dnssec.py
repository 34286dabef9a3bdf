"""Any bytes as answers whose signatures are checked: a judgement in a bounded number of questions, or `Unproved`."""

from __future__ import annotations

from tunflow.dns.proof import Unproved
from tunflow.dns.validation import MOST_QUESTIONS, ROOT_ANCHORS, Signatures, Validator
from tunflow.errors import BadPacket

_QUESTION = "03777777046c616262 00 0001 0001"
_SIGNATURE = "c00c 002e 0001 0000003c 0026 0001 0d 02 0000003c 7fffffff 00000000 1234 046c61626200"
SEEDS = [
    bytes.fromhex(f"0000 81a0 0001 0002 0000 0000 {_QUESTION} c00c 0001 0001 0000003c 0004 c0000201 {_SIGNATURE}")
    + bytes(14),
    bytes.fromhex(f"0000 81a0 0001 0000 0001 0000 {_QUESTION} c010 002f 0001 0000003c 000a 046c61626200 0001 40 00"),
    bytes.fromhex("0000 81a0 0001 0001 0000 0000 00 0030 0001 00 0030 0001 0000003c 0008 0101 03 0d 01020304"),
]


def one_input(data: bytes) -> None:
    """Judge it, and answer every question with it too."""
    judgement = Signatures(Validator(ROOT_ANCHORS, lambda: 1.0)).judge(data, wants_signatures=bool(data[:1]))
    answer = None
    try:
        for _ in range(MOST_QUESTIONS + 2):
            message, asked = judgement.go_on(answer)
            if message is not None:
                return
            assert asked is not None
            answer = data
    except (Unproved, BadPacket):
        return
    raise AssertionError("it asks for ever")
