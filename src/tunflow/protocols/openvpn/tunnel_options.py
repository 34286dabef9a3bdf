"""What a server pushes, or a configuration says of the tunnel itself: every option with what becomes of it.

Rules: what is DONE is done; TOLD is said in the log and changes nothing; REFUSED ends the connection, because going on
without it would be another tunnel than the server means. Read first: openvpn(8), "push"; openvpn-rfc, "Push".
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import NamedTuple

from tunflow.addresses import ip_address
from tunflow.errors import BadPacket
from tunflow.protocols.openvpn.data_key import CIPHERS, NO_PEER

MOST_ROUTES = 4096
"""Routes of one tunnel; a server that pushes more means harm."""
Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


class Fate(Enum):
    """What becomes of an option."""

    DONE = "done"
    TOLD = "told"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class TunnelOptions:
    """The tunnel as options make it."""

    topology: str = "net30"
    local4: IPv4Address | None = None
    second4: IPv4Address | None = None
    """The mask of topology subnet, the peer's address of the others."""
    address6: IPv6Interface | None = None
    included: tuple[Network, ...] = ()
    excluded: tuple[Network, ...] = ()
    redirect4: bool = False
    redirect6: bool = False
    dns: tuple[Address, ...] = ()
    search: tuple[str, ...] = ()
    match: tuple[str, ...] = ()
    """Domains that alone are looked up with `dns`; empty for all names."""
    mtu: int = 0
    """0: not said."""
    ping: float = 0
    ping_restart: float = 0
    ping_exit: float = 0
    inactive: float = 0
    exit_notify: int = 0
    cipher: str = ""
    peer_id: int = NO_PEER
    exported_keys: bool = False
    dynamic_tls_crypt: bool = False
    epochs: bool = False
    control_exit: bool = False
    auth_token: str = field(default="", repr=False)
    auth_token_user: str = ""
    told: tuple[str, ...] = ()
    """Options that change nothing, for the log."""

    @property
    def address4(self) -> IPv4Interface | None:
        """The interface's address. Raises BadPacket for a mask that is none."""
        if self.local4 is None:
            return None
        if self.topology != "subnet" or self.second4 is None:
            return IPv4Interface(self.local4)
        try:
            return IPv4Interface(f"{self.local4}/{self.second4}")
        except ValueError:
            raise BadPacket(f"ifconfig: {self.second4} is no netmask") from None

    def networks(self, version: int) -> Iterator[Network]:
        """What goes into the tunnel by IP version 4 or 6, beside the address's own network."""
        if version == 4 and self.topology != "subnet" and self.second4 is not None:
            yield IPv4Network(self.second4)
        if version == 4 and self.redirect4:
            yield IPv4Network("0.0.0.0/0")
        if version == 6 and self.redirect6:
            yield IPv6Network("::/0")
        yield from (each for each in self.included if each.version == version)


Words = Sequence[str]
Apply = Callable[[TunnelOptions, Words], TunnelOptions]


class Option(NamedTuple):
    """An option's fate, how it is done, and how many words it has behind its name at least."""

    fate: Fate
    apply: Apply | None = None
    least: int = 0


def apply_untrusted(options: TunnelOptions, words: Words) -> TunnelOptions:
    """What an option makes of the tunnel; words[0] is its name. Raises BadPacket for a refused or a broken one."""
    name, rest = words[0], words[1:]
    option = PUSHED.get(name)
    if option is None or option.fate is Fate.TOLD:
        return replace(options, told=(*options.told, name))
    if option.apply is None:
        raise BadPacket(f"{' '.join(words[:3])}: this option is refused")
    if len(rest) < option.least:
        raise BadPacket(f"{name}: expected {option.least} words behind it")
    try:
        return option.apply(options, rest)
    except ValueError as error:
        raise BadPacket(f"{name}: {error}") from None


def split_option(text: str) -> list[str]:
    """The words of a pushed option: quotes hold words together."""
    words: list[str] = []
    word, quote, started = "", "", False
    for character in text:
        if quote:
            if character == quote:
                quote = ""
            else:
                word += character
        elif character in "\"'":
            quote, started = character, True
        elif character.isspace():
            if started or word:
                words.append(word)
            word, started = "", False
        else:
            word += character
    if started or word:
        words.append(word)
    return words


def _number(text: str, most: int = 1_000_000) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > most:
        raise ValueError(f"{text[:20]!r} is no number from 0 to {most}")
    return int(text)


def _topology(options: TunnelOptions, words: Words) -> TunnelOptions:
    if words[0] not in {"subnet", "net30", "p2p"}:
        raise ValueError(f"{words[0]!r} is none of subnet, net30, p2p")
    return replace(options, topology=words[0])


def _ifconfig(options: TunnelOptions, words: Words) -> TunnelOptions:
    return replace(options, local4=IPv4Address(words[0]), second4=IPv4Address(words[1]))


def _ifconfig6(options: TunnelOptions, words: Words) -> TunnelOptions:
    return replace(options, address6=IPv6Interface(words[0]))


def _route(options: TunnelOptions, words: Words) -> TunnelOptions:
    mask = words[1] if len(words) > 1 and words[1] != "default" else "255.255.255.255"
    return _add_route(options, IPv4Network(f"{words[0]}/{mask}", strict=False), words[2:3])


def _route6(options: TunnelOptions, words: Words) -> TunnelOptions:
    return _add_route(options, IPv6Network(words[0], strict=False), words[1:2])


def _add_route(options: TunnelOptions, network: Network, gateway: Words) -> TunnelOptions:
    if len(options.included) + len(options.excluded) >= MOST_ROUTES:
        raise ValueError(f"more than {MOST_ROUTES} routes")
    if gateway and gateway[0] == "net_gateway":
        return replace(options, excluded=(*options.excluded, network))
    return replace(options, included=(*options.included, network))


_REDIRECT_FLAGS = {"def1", "local", "autolocal", "bypass-dhcp", "bypass-dns", "block-local", "ipv6", "!ipv4"}


def _redirect(options: TunnelOptions, words: Words) -> TunnelOptions:
    if unknown := set(words) - _REDIRECT_FLAGS:
        raise ValueError(f"{sorted(unknown)[0]!r} is no flag of it")
    return replace(
        options, redirect4=options.redirect4 or "!ipv4" not in words, redirect6=options.redirect6 or "ipv6" in words
    )


def _dhcp_option(options: TunnelOptions, words: Words) -> TunnelOptions:
    kind = words[0].upper()
    if kind in {"DNS", "DNS6"} and len(words) > 1:
        return replace(options, dns=(*options.dns, ip_address(words[1])))
    if kind in {"DOMAIN", "DOMAIN-SEARCH", "ADAPTER_DOMAIN_SUFFIX"} and len(words) > 1:
        return replace(options, search=(*options.search, words[1]))
    return replace(options, told=(*options.told, f"dhcp-option {kind}"))


def _dns(options: TunnelOptions, words: Words) -> TunnelOptions:
    if words[0] == "search-domains":
        return replace(options, search=(*options.search, *words[1:]))
    if words[0] != "server" or len(words) < 4:
        raise ValueError("expected `server N address …` or `search-domains …`")
    what, values = words[2], words[3:]
    if what == "address":
        found = tuple(_dns_address(value) for value in values)
        return replace(options, dns=(*options.dns, *found))
    if what == "resolve-domains":
        return replace(options, match=(*options.match, *values))
    if what == "transport" and values[0] != "plain":
        raise ValueError("only resolvers by plain DNS are done")
    return options if what == "transport" else replace(options, told=(*options.told, f"dns server {what}"))


def _dns_address(text: str) -> Address:
    """An address, whose port may be 53 only."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    if port not in {"", "53"}:
        raise ValueError("a resolver is asked at port 53 only")
    return ip_address(host)


def _mtu(options: TunnelOptions, words: Words) -> TunnelOptions:
    mtu = _number(words[0], 65_535)
    if mtu < 576:
        raise ValueError(f"{mtu} is less than 576")
    return replace(options, mtu=mtu)


def _cipher(options: TunnelOptions, words: Words) -> TunnelOptions:
    name = words[0].upper()
    if name not in CIPHERS:
        raise ValueError(f"{name[:40]!r} is none of {', '.join(CIPHERS)}")
    return replace(options, cipher=name)


def _key_derivation(options: TunnelOptions, words: Words) -> TunnelOptions:
    if words[0] != "tls-ekm":
        raise ValueError("only tls-ekm is known")
    return replace(options, exported_keys=True)


def _protocol_flags(options: TunnelOptions, words: Words) -> TunnelOptions:
    known = {"cc-exit", "tls-ekm", "dyn-tls-crypt", "aead-epoch"}
    if unknown := set(words) - known:
        raise ValueError(f"{sorted(unknown)[0]!r} is not known")
    return replace(
        options,
        control_exit="cc-exit" in words,
        exported_keys=options.exported_keys or "tls-ekm" in words,
        dynamic_tls_crypt="dyn-tls-crypt" in words,
        epochs="aead-epoch" in words,
    )


def _keepalive(options: TunnelOptions, words: Words) -> TunnelOptions:
    return replace(options, ping=_number(words[0]), ping_restart=_number(words[1]))


def _compress(options: TunnelOptions, words: Words) -> TunnelOptions:
    if list(words) == ["migrate"]:
        return options
    raise ValueError("compression is refused: what is compressed before it is encrypted can be guessed (VORACLE)")


def _token(options: TunnelOptions, words: Words) -> TunnelOptions:
    return replace(options, auth_token=words[0])


def _token_user(options: TunnelOptions, words: Words) -> TunnelOptions:
    try:
        name = b64decode(words[0], validate=True).decode()
    except ValueError as error:
        raise ValueError(f"{words[0][:20]!r} is no name in base64") from error
    return replace(options, auth_token_user=name)


def _seconds(name: str) -> Apply:
    """An option that is a number of seconds in the field `name`."""

    def apply(options: TunnelOptions, words: Words) -> TunnelOptions:
        return replace(options, **{name: float(_number(words[0]))})  # type: ignore[arg-type]

    return apply


def _exit_notify(options: TunnelOptions, words: Words) -> TunnelOptions:
    return replace(options, exit_notify=_number(words[0], 100) if words else 1)


def _peer_id(options: TunnelOptions, words: Words) -> TunnelOptions:
    return replace(options, peer_id=_number(words[0], NO_PEER))


def _gateway_told(options: TunnelOptions, words: Words) -> TunnelOptions:  # noqa: ARG001
    return options  # a tunnel of packets has one way only; the gateway's address changes nothing


PUSHED: dict[str, Option] = {
    "topology": Option(Fate.DONE, _topology, 1),
    "ifconfig": Option(Fate.DONE, _ifconfig, 2),
    "ifconfig-ipv6": Option(Fate.DONE, _ifconfig6, 1),
    "route": Option(Fate.DONE, _route, 1),
    "route-ipv6": Option(Fate.DONE, _route6, 1),
    "route-gateway": Option(Fate.DONE, _gateway_told),
    "route-ipv6-gateway": Option(Fate.DONE, _gateway_told),
    "redirect-gateway": Option(Fate.DONE, _redirect),
    "redirect-private": Option(Fate.DONE, _gateway_told),
    "dhcp-option": Option(Fate.DONE, _dhcp_option, 1),
    "dns": Option(Fate.DONE, _dns, 2),
    "tun-mtu": Option(Fate.DONE, _mtu, 1),
    "ping": Option(Fate.DONE, _seconds("ping"), 1),
    "ping-restart": Option(Fate.DONE, _seconds("ping_restart"), 1),
    "ping-exit": Option(Fate.DONE, _seconds("ping_exit"), 1),
    "keepalive": Option(Fate.DONE, _keepalive, 2),
    "inactive": Option(Fate.DONE, _seconds("inactive"), 1),
    "explicit-exit-notify": Option(Fate.DONE, _exit_notify),
    "cipher": Option(Fate.DONE, _cipher, 1),
    "peer-id": Option(Fate.DONE, _peer_id, 1),
    "key-derivation": Option(Fate.DONE, _key_derivation, 1),
    "protocol-flags": Option(Fate.DONE, _protocol_flags),
    "auth-token": Option(Fate.DONE, _token, 1),
    "auth-token-user": Option(Fate.DONE, _token_user, 1),
    "compress": Option(Fate.REFUSED, _compress),
    "comp-lzo": Option(Fate.REFUSED, _compress),
    "comp-noadapt": Option(Fate.TOLD),
    "block-ipv6": Option(Fate.TOLD),
    "block-outside-dns": Option(Fate.TOLD),
    "register-dns": Option(Fate.TOLD),
    "sndbuf": Option(Fate.TOLD),
    "rcvbuf": Option(Fate.TOLD),
    "socket-flags": Option(Fate.TOLD),
    "ip-win32": Option(Fate.TOLD),
    "echo": Option(Fate.TOLD),
    "parameter": Option(Fate.TOLD),
    "setenv": Option(Fate.TOLD),
    "setenv-safe": Option(Fate.TOLD),
    "mssfix": Option(Fate.TOLD),
    "persist-key": Option(Fate.TOLD),
    "persist-tun": Option(Fate.TOLD),
    "route-metric": Option(Fate.TOLD),
    "route-delay": Option(Fate.TOLD),
    "reneg-sec": Option(Fate.TOLD),
    "server-poll-timeout": Option(Fate.TOLD),
    "client-nat": Option(Fate.REFUSED),
}
"""Every option that servers are known to push; what is not here is TOLD."""
