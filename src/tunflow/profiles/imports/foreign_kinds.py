"""Values of the wrong kind in a JSON configuration of another program. It would refuse them; readers of ours look
for one kind of value only, so that another is as good as none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kinds:
    """What the values of keys have to be wherever they stand; null is as good as no key (Go's encoding/json)."""

    texts: frozenset[str]
    switches: frozenset[str]
    tables: frozenset[str]
    lists: frozenset[str]
    unseen: frozenset[str]
    """Keys below which there is nothing to look at: their keys are the user's, or nothing of them is carried."""

    def wrong(self, value: Any, place: str = "") -> Iterator[tuple[str, str]]:
        """The place of each value that is something else, and what it has to be."""
        if isinstance(value, Mapping):
            for key, each in value.items():
                where = f"{place}.{key}" if place else str(key)
                wanted = self._wanted(key, each)
                if wanted is not None:
                    yield where, wanted
                elif key not in self.unseen:
                    yield from self.wrong(each, where)
        elif isinstance(value, list):
            for number, each in enumerate(value):
                yield from self.wrong(each, f"{place}[{number}]")

    def _wanted(self, key: str, value: Any) -> str | None:
        if value is None:
            return None
        for keys, kind, words in (
            (self.texts, str, "a text"),
            (self.switches, bool, "true or false"),
            (self.tables, Mapping, "a table"),
            (self.lists, list, "a list"),
        ):
            if key in keys and not isinstance(value, kind):
                return words
        return None


SING_BOX = Kinds(
    frozenset({"type", "tag", "detour", "action", "final", "mode"}),
    frozenset({"invert", "enabled"}),
    frozenset({"dns", "route", "experimental", "clash_api", "tls", "reality", "utls", "transport", "multiplex"}),
    frozenset({"inbounds", "outbounds", "endpoints", "servers", "rules", "peers"}),
    frozenset({"headers", "predefined", "inbounds"}),
)
"""https://sing-box.sagernet.org/configuration/"""

XRAY = Kinds(
    frozenset({"tag", "protocol", "outboundTag", "balancerTag", "fallbackTag", "domainStrategy", "queryStrategy"})
    | {"security", "serverName"},
    frozenset({"enabled"}),
    frozenset({"dns", "routing", "streamSettings", "settings", "tlsSettings", "realitySettings", "wsSettings", "mux"})
    | {"grpcSettings", "httpSettings", "tcpSettings", "strategy"},
    frozenset({"inbounds", "outbounds", "balancers", "rules", "vnext", "users", "peers"}),
    frozenset({"headers", "hosts", "inbounds"}),
)
"""https://xtls.github.io/en/config/"""
