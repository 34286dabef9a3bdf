"""Which protocols there are: found by a link's scheme, by the `type` of a Clash entry or a profile's table, by a file.

A protocol is a folder whose `__init__` has a `PROTOCOL`. Those of tunflow are `BUILT_IN`; anybody's package adds its
own by an entry point of the group `tunflow.protocols` that names such an object. Nothing else in tunflow knows a
protocol's name. Manifests are small; what a protocol does is imported when one of its servers is first made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import cast

from tunflow.errors import LocalError
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.contract import FromFile, Protocol, Settings
from tunflow.protocols.link import Link, printable

BUILT_IN = (
    "shadowsocks",
    "socks",
    "http",
    "trojan",
    "vless",
    "vmess",
    "anytls",
    "hysteria2",
    "tuic",
    "ssh",
    "tor",
    "shadowvpn",
    "wireguard",
    "openvpn",
    "openconnect",
    "ikev2",
    "direct",
    "block",
)
ENTRY_POINTS = "tunflow.protocols"

Test = Callable[[Protocol], bool]


@cache
def built_in() -> tuple[Protocol, ...]:
    """The protocols of tunflow itself."""
    return tuple(import_module(f"tunflow.protocols.{name}").PROTOCOL for name in BUILT_IN)


@cache
def protocols() -> tuple[Protocol, ...]:
    """All protocols: tunflow's own and those that other packages bring. Raises LocalError that names the faulty one."""
    from importlib.metadata import entry_points  # noqa: PLC0415  (0.15 s: who uses built-in protocols goes without)

    found = list(built_in())
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        try:
            protocol = point.load()
        except Exception as error:
            raise LocalError(f"the protocol {point.name} ({point.value}) cannot be imported: {error}") from error
        if not isinstance(protocol, Protocol):
            raise LocalError(f"the protocol {point.name} ({point.value}) is no tunflow.protocols.contract.Protocol")
        found.append(protocol)
    _check(found)
    return tuple(found)


def _check(found: list[Protocol]) -> None:
    """Raises LocalError when two protocols want one name, scheme or Clash type."""
    taken: dict[tuple[str, str], str] = {}
    for protocol in found:
        words = [("name", protocol.name)]
        words += [("scheme", f"{scheme}://") for scheme in (*protocol.schemes, *protocol.other_schemes)]
        words += [("Clash type", kind) for kind in sorted(protocol.clash)]
        for word in words:
            if word in taken:
                raise LocalError(f"the protocols {taken[word]} and {protocol.name} both have the {word[0]} {word[1]}")
            taken[word] = protocol.name


def by_scheme(scheme: str) -> Protocol | None:
    """The protocol whose links have a scheme (in lower case), None if there is none."""
    return _first(lambda protocol: scheme in (*protocol.schemes, *protocol.other_schemes))


def by_name(name: str) -> Protocol:
    """The protocol of a name. Raises LocalError that says which there are."""
    found = _first(lambda protocol: protocol.name == name)
    if found is None:
        names = ", ".join(protocol.name for protocol in protocols())
        raise LocalError(f"unknown type {printable(name)!r}; there are: {names}")
    return found


def by_file(content: bytes) -> Protocol | None:
    """The protocol whose own file format this is, None if it is none's."""
    return _first(lambda protocol: protocol.looks_like is not None and protocol.looks_like(content))


def server_of_file(
    content: bytes, name: str, read: Callable[[str], bytes], expected: str | None = None
) -> Settings | None:
    """The server of a file that a protocol knows for its own, or that must be one of the protocol `expected`.

    None if it is none's. `read` gives files that it names. Raises LocalError that begins with the file's `name` and the
    line.
    """
    protocol = by_file(content) or (by_name(expected) if expected is not None else None)
    if protocol is None:
        return None
    made = settings_of(protocol)
    if not isinstance(made, FromFile):
        raise LocalError(f"{name}: the protocol {protocol.name} knows this file and cannot read it")
    return made.from_file(content, name, read)


def settings_of(protocol: Protocol) -> type[Settings]:
    """The class of a protocol's servers. Raises LocalError when its module cannot be imported."""
    try:
        return cast("type[Settings]", import_module(protocol.module).SETTINGS)
    except (ImportError, AttributeError) as error:
        raise LocalError(f"the protocol {protocol.name} cannot be used: {error}") from error


def parse_server(url: str, *, listening: bool = False, is_foreign: bool = False) -> Settings:
    """The server that a link names; with `listening`, as the server's own side, whose host may be empty.

    `is_foreign` as `Link.is_foreign`.

    Raises LocalError: one line that says what is wrong and what is accepted, without the password.
    """
    scheme, separator, rest = url.strip().partition("://")
    scheme = scheme.lower()
    if not separator or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise LocalError(f"a server is a link that starts with one of {accepted()}")
    protocol = by_scheme(scheme)
    if protocol is None:
        raise LocalError(f"unknown server scheme {printable(scheme)}://; accepted are {accepted()}")
    return settings_of(protocol).from_link(Link(scheme, rest, listening, is_foreign))


def clash_server(values: dict[str, object]) -> tuple[Settings, list[str]]:
    """The server of an entry of a Clash file's `proxies`, and the keys of the entry that nobody read.

    Raises LocalError: the type that nobody has, or the key that is wrong.
    """
    kind = str(values.get("type", ""))
    protocol = _first(lambda each: kind in each.clash)
    if protocol is None:
        kinds = sorted(kind for each in protocols() for kind in each.clash)
        raise LocalError(f"type {printable(kind)} is not supported; {', '.join(kinds)} are")
    entry = ClashEntry(values)
    return settings_of(protocol).from_clash(entry), entry.unread


def accepted() -> str:
    """The schemes that a link may have, for help and errors."""
    return ", ".join(f"{scheme}://" for protocol in protocols() for scheme in protocol.schemes)


def link_shapes() -> str:
    """How the links of every protocol read, for help."""
    return ", ".join(protocol.link_shape for protocol in protocols())


def _first(test: Test) -> Protocol | None:
    for protocol in _all():
        if test(protocol):
            return protocol
    return None


def _all() -> Iterator[Protocol]:
    """The built-in ones first: who asks for one of those does not wait for the others."""
    yield from built_in()
    yield from protocols()[len(built_in()) :]
