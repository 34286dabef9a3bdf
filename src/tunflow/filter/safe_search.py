"""Names of search engines and video sites, and the names under which they serve their strict modes.

The engines make these names for just that: a resolver that answers the first with the addresses of the second holds
everybody behind it to the strict mode, and nothing needs to be decrypted. `safe_search.txt` has them, with the sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

from tunflow.rules.domains import normalise

_ENDS = re.compile(r"com|net|org|cat|eu|(?:com?\.)?[a-z]{2}")
"""What `.*` stands for: google.de, google.co.uk, google.com.br."""

_REWRITE = re.compile(r"\|{1,2}([^\s^$|*]+)\^\$dnsrewrite=NOERROR;CNAME;(\S+)")


class SafeSearch(NamedTuple):
    """Hosts, each to the one that serves its strict mode."""

    hosts: Mapping[str, str]
    anywhere: Mapping[str, str]
    """Those with a name in every country, without its end."""

    @classmethod
    def of(cls, lines: Iterable[str]) -> Self:
        """Read lines as `safe_search.txt` has them. Raises ValueError for others."""
        hosts: dict[str, str] = {}
        anywhere: dict[str, str] = {}
        for line in lines:
            text, equals, strict = line.partition("#")[0].partition("=")
            if bool(text.split()) is not bool(equals):
                raise ValueError(f"no line of names, an = and a host: {line[:80]!r}")
            for name in text.split():
                place = anywhere if name.endswith(".*") else hosts
                place[normalise(name.removesuffix(".*"))] = normalise(strict.strip())
        return cls(hosts, anywhere)

    def with_hosts(self, hosts: Mapping[str, str]) -> SafeSearch:
        """Return these, and more; where both know a host the others count."""
        return SafeSearch({**self.hosts, **hosts}, self.anywhere)

    def strict_host(self, name: str) -> str | None:
        """The host with the strict mode of a host (in lower case, without a last dot); None where there is none."""
        found = self.hosts.get(name)
        if found is None:
            front, _, rest = name.partition(".")
            if front == "www":
                second, _, rest = rest.partition(".")
                front = f"www.{second}"
            found = self.anywhere.get(front)
            if found is not None and not _ENDS.fullmatch(rest):
                return None
        return found


def rewritten_hosts(lines: Iterable[str]) -> dict[str, str]:
    """The hosts of AdGuard's lists of strict modes: rules with `$dnsrewrite=NOERROR;CNAME;HOST`; no others."""
    found = {}
    for line in lines:
        rule = _REWRITE.fullmatch(line.strip())
        if rule is not None:
            try:
                found[normalise(rule[1])] = normalise(rule[2])
            except ValueError:
                continue
    return found


@cache
def known_engines() -> SafeSearch:
    """Those that tunflow comes with."""
    return SafeSearch.of(Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines())
