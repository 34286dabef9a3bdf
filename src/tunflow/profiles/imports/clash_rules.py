"""Clash's `rules`, `sub-rules` and `rule-providers`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunflow.errors import LocalError
from tunflow.profiles.imports.clash_source import ClashSource, texts
from tunflow.profiles.imports.draft_rules import DraftRules
from tunflow.profiles.imports.seconds import again_after, seconds_of
from tunflow.rules.rule_set import BEHAVIORS
from tunflow.rules.syntax import RuleText, cut_rule

GEOSITE = "https://github.com/MetaCubeX/meta-rules-dat/releases/download/latest/geosite.dat"
ASN = "https://github.com/MetaCubeX/meta-rules-dat/releases/download/latest/GeoLite2-ASN.mmdb"
GEOIP = "https://github.com/MetaCubeX/meta-rules-dat/releases/download/latest/geoip.metadb"
"""Where Clash fetches its data from if the configuration does not say."""

_SAME = {"COMPATIBLE": "DIRECT", "REJECT-NO-DROP": "REJECT"}
_DEEPEST = 8
NEVER = frozenset({"IN-TYPE", "IN-PORT", "IN-USER", "IN-NAME"})
"""Rules about ports of Clash's own, by which no flow comes here."""


class ClashRules:
    """The rules of one file."""

    def __init__(self, source: ClashSource) -> None:
        self._source = source
        self._sub_rules: dict[str, list[str]] = {}
        self._kinds: set[str] = set()

    def read_sets(self, providers: dict[str, Any]) -> None:
        """`rule-providers`."""
        for name, provider in providers.items():
            key = ("rule-providers", name)
            try:
                if not isinstance(provider, dict):
                    raise LocalError("must be a mapping")
                self._source.draft.rule_sets[name] = self._set(provider)
            except LocalError as error:
                self._source.tell(f"rule set {name!r}: {error}", *key)
                continue
            self._source.tell_keys("rule-providers", provider, f"rule set {name!r}: ", *key)
            if (line := self._source.line(*key)) is not None:
                self._source.draft.lines["rule_sets", name] = line

    def _set(self, provider: dict[str, Any]) -> dict[str, Any]:
        """One provider as a profile has it. Raises LocalError."""
        kind, behavior = str(provider.get("type")), provider.get("behavior")
        if behavior not in BEHAVIORS:
            raise LocalError(f"behavior is {', '.join(BEHAVIORS)}")
        if kind == "inline":
            if not (lines := texts(provider.get("payload"))):
                raise LocalError("payload is missing")
            return {"behavior": behavior, "lines": lines}
        if kind not in {"http", "file"}:
            raise LocalError(f"type {kind} is not supported; http, file and inline are")
        if str(provider.get("format") or "yaml") not in {"yaml", "text", "mrs"}:
            raise LocalError(f"format {provider['format']} is not supported; yaml, text and mrs are")
        given = provider.get("url" if kind == "http" else "path")
        if not isinstance(given, str) or not given:
            raise LocalError(f"{'url' if kind == 'http' else 'path'} is missing")
        where = {"url": given} if kind == "http" else {"file": str(self._source.beside(given))}
        again = again_after(seconds_of(f"{provider.get('interval') or 0}s")) if kind == "http" else {}
        return {"behavior": behavior, **where, **again}

    def read_sub_rules(self, given: dict[str, Any]) -> None:
        """`sub-rules`, which SUB-RULE refers to."""
        self._sub_rules = {name: texts(rules) for name, rules in given.items()}

    def read(self, rules: Any) -> None:
        """`rules`."""
        if not isinstance(rules, list):
            raise LocalError(f"{self._source.at('rules')}: rules must be a list")
        taken = DraftRules(self._source.draft)
        for number, given in enumerate(rules):
            place, text = self._source.at("rules", number), str(given)
            line = self._source.document.lines["rules", number]
            if text.partition(",")[0].strip().upper() in NEVER:
                self._source.tell(
                    f"{text[:80]}: all flows come out of a TUN device: it never holds", "rules", number, is_lost=False
                )
                continue
            try:
                for each in self._expanded(text, 0):
                    taken.take(each, place, line)
                    self._kinds.update(word for word in _DATA if word in each)
            except (LocalError, ValueError) as error:
                taken.lose(text, place, line, error)
        self._name_data()

    def _expanded(self, text: str, depth: int) -> Iterator[str]:
        """A rule with Clash's own words in ours; a SUB-RULE as the rules that it stands for. Raises ValueError."""
        kind, _, rest = text.partition(",")
        if kind.strip().upper() != "SUB-RULE":
            parts = cut_rule(text)
            target = _SAME.get(parts.target, parts.target)
            yield text if target == parts.target else parts._replace(target=target).text
            return
        parts = cut_rule(f"AND,{rest}")
        if parts.target not in self._sub_rules:
            raise ValueError(f"there are no sub-rules {parts.target!r}")
        if depth >= _DEEPEST:
            raise ValueError(f"sub-rules are nested deeper than {_DEEPEST}")
        outer = parts.value if parts.value.startswith("((") else f"({parts.value})"
        for inner in self._sub_rules[parts.target]:
            for each in self._expanded(inner, depth + 1):
                yield _within(outer, cut_rule(each)).text

    def _name_data(self) -> None:
        """Say where data is fetched from that rules are about."""
        more = self._source.draft.more
        if "GEOSITE," in self._kinds:
            more["geosite"] = geosite_of(self._source)
        if "IP-ASN," in self._kinds:
            more["asn"] = _own(self._source, "ASN.mmdb", "GeoLite2-ASN.mmdb") or _url(self._source, "asn") or ASN
        if "GEOIP," in self._kinds:
            own = _own(self._source, "geoip.metadb", "Country.mmdb", "country.mmdb", "GeoIP.dat", "geoip.dat")
            if own is not None or any(_is_topic(rule.text) for rule in self._source.draft.rules):
                more["geoip"] = own or _url(self._source, "mmdb") or _url(self._source, "geoip") or GEOIP


def geosite_of(source: ClashSource) -> str:
    """Where names by topic are: a file beside the configuration, or where it is fetched from."""
    return _own(source, "GeoSite.dat", "geosite.dat") or _url(source, "geosite") or GEOSITE


def _url(source: ClashSource, key: str) -> str | None:
    """Where the configuration has data fetched from."""
    given = source.document.data.get("geox-url") if isinstance(source.document.data, dict) else None
    value = given.get(key) if isinstance(given, dict) else None
    return value if isinstance(value, str) and value else None


def _own(source: ClashSource, *names: str) -> str | None:
    """The first of several files that lies beside the configuration."""
    return next((str(path) for path in map(source.beside, names) if path.is_file()), None)


_DATA = ("GEOSITE,", "IP-ASN,", "GEOIP,")


def _is_topic(rule: str) -> bool:
    """Return True if a rule is about a GEOIP that is no country of two letters."""
    parts = cut_rule(rule)
    return parts.kind == "GEOIP" and len(parts.value) != 2 and parts.value.upper() not in {"LAN", "PRIVATE"}


def _within(outer: str, inner: RuleText) -> RuleText:
    """A rule of sub-rules, for flows for which `outer` (with brackets around its conditions) holds too."""
    if inner.kind in {"MATCH", "FINAL"}:
        return RuleText("AND", outer, inner.target)
    value = ",".join(part for part in (inner.kind, inner.value, *inner.options) if part)
    return RuleText("AND", f"{outer[:-1]},({value}))", inner.target)
