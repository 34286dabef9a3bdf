"""What a file is that holds no servers that we read: people are told that instead of what its first line is not."""

from __future__ import annotations

import re

_KINDS = (
    (re.compile(rb"\A[ \t\r\n]{0,99}<(?:!doctype|html|head|body)", re.IGNORECASE), "a web page, not a list of servers"),
    (re.compile(rb"\A[ \t\r\n]{0,99}<\?xml", re.IGNORECASE), "an XML file, not a list of servers"),
    (re.compile(rb"^\[server_local\]", re.MULTILINE), "a Quantumult X configuration, which is not read"),
    (re.compile(rb"^\[Remote (?:Proxy|Rule)\]", re.MULTILINE), "a Loon configuration, which is not read"),
    (
        re.compile(rb"\A(?:[ \t]*(?:[#;/][^\n]*)?\r?\n){0,99}(?:DOMAIN(?:-SUFFIX|-KEYWORD)?|IP-CIDR6?),[^,\n]+[\r\n]"),
        "a list of rules, which a profile takes as a rule set",
    ),
    (re.compile(rb"^payload:", re.MULTILINE), "a list of rules, which a profile takes as a rule set"),
    (re.compile(rb"\A(?:\x89PNG|\xff\xd8\xff|GIF8)"), "a picture"),
    (re.compile(rb"\A(?:PK\x03\x04|\x1f\x8b|7z\xbc\xaf|\x28\xb5\x2f\xfd)"), "a packed file"),
)


def kind_of(content: bytes) -> str | None:
    """What a file is, in words that follow "it is"; None where nobody knows."""
    head = content[:65536]
    return next((name for pattern, name in _KINDS if pattern.search(head)), None)
