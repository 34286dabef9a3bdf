"""Names that tunflow knows by itself and that change: public resolvers and search engines' strict modes.

What it comes with is completed by lists that `tunflow rules update` fetches for profiles that ask for such names.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tunflow.dns.public_resolvers import PublicResolvers, known_resolvers
from tunflow.errors import BadPacket, LocalError
from tunflow.filter.judge import Door
from tunflow.filter.safe_search import SafeSearch, known_engines, rewritten_hosts
from tunflow.profiles.profile import Profile
from tunflow.rules.domains import normalise
from tunflow.tunnel import rule_data
from tunflow.tunnel.rule_update import ListSource

RESOLVERS_URL = "https://raw.githubusercontent.com/dibdot/DoH-IP-blocklists/master/doh-domains.txt"
"""One name a line. Its addresses are not taken: networks that deliver for others have many of them."""
ENGINES_URL = "https://adguardteam.github.io/HostlistsRegistry/assets/engines_safe_search.txt"

_RESOLVERS, _ENGINES = Path("known-names", "resolvers.txt"), Path("known-names", "safe-search.txt")


def public_resolvers() -> PublicResolvers:
    """Those that are known, and those that were fetched."""
    return known_resolvers().with_names(_names(_fetched(_RESOLVERS)))


def strict_modes() -> SafeSearch:
    """Those that are known, and those that were fetched."""
    return known_engines().with_hosts(rewritten_hosts(_fetched(_ENGINES)))


def sources(profile: Profile) -> list[ListSource]:
    """The lists that a profile has a use for."""
    section = profile.filter if profile.filter is not None and profile.filter.enabled else None
    found = []
    if profile.dns.block_encrypted or (section is not None and Door.ENCRYPTED_DNS in section.doors):
        found.append(ListSource("public resolvers", RESOLVERS_URL, _RESOLVERS, _count_names))
    if section is not None and section.safe_search:
        found.append(ListSource("safe search", ENGINES_URL, _ENGINES, _count_hosts))
    return found


def _fetched(path: Path) -> list[str]:
    """The lines of a list that was fetched; none if it was not, or cannot be read, which `rules update` tells."""
    found = rule_data.find(path)
    if found is None:
        return []
    try:
        return _lines(rule_data.read(found))
    except (LocalError, BadPacket):
        return []


def _lines(data: bytes) -> list[str]:
    """Raises BadPacket."""
    try:
        return data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise BadPacket(f"no UTF-8 text (byte {error.start})") from None


def _names(lines: Iterable[str]) -> set[str]:
    """A name a line, with at least two labels; what is none is left out."""
    names = set()
    for line in lines:
        with suppress(ValueError):
            name = normalise(line.partition("#")[0].strip())
            if "." in name:
                names.add(name)
    return names


def _count_names(data: bytes) -> int:
    count = len(_names(_lines(data)))
    if not count:
        raise BadPacket("it has no name")
    return count


def _count_hosts(data: bytes) -> int:
    count = len(rewritten_hosts(_lines(data)))
    if not count:
        raise BadPacket("it has no rewritten host")
    return count
