"""Clash's `rules`, `sub-rules` and `rule-providers`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunflow.errors import LocalError
from tunflow.profiles.imports.clash_source import ClashSource, texts
from tunflow.profiles.imports.draft import DraftRule
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.conditions import DomainTest, RuleSet
from tunflow.rules.domains import DomainSet
from tunflow.rules.rule_set import BEHAVIORS
from tunflow.rules.syntax import Context, Line, RuleText, cut_rule, parse_rule

GEOSITE = "https://github.com/MetaCubeX/meta-rules-dat/releases/download/latest/geosite.dat"
ASN = "https://github.com/MetaCubeX/meta-rules-dat/releases/download/latest/GeoLite2-ASN.mmdb"
GEOIP = "https://github.com/MetaCubeX/meta-rules-dat/releases/download/latest/geoip.metadb"
"""Where Clash fetches its data from if the configuration does not say."""

_SAME = {"COMPATIBLE": "DIRECT", "REJECT-NO-DROP": "REJECT"}
_DEEPEST = 8


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
        kind, behavior = provider.get("type"), provider.get("behavior")
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
        return {"behavior": behavior, **where}

    def read_sub_rules(self, given: dict[str, Any]) -> None:
        """`sub-rules`, which SUB-RULE refers to."""
        self._sub_rules = {name: texts(rules) for name, rules in given.items()}

    def read(self, rules: Any) -> None:
        """`rules`."""
        if not isinstance(rules, list):
            raise LocalError(f"{self._source.at('rules')}: rules must be a list")
        draft = self._source.draft
        anything = RuleSet(DomainSet(), CIDRSet())
        context = Context(
            dict.fromkeys(draft.rule_sets, anything),
            lambda _: CIDRSet(),
            lambda _: DomainTest(DomainSet()),
            lambda _: CIDRSet(),
        )
        file = self._source.document.file
        for number, given in enumerate(rules):
            place = self._source.at("rules", number)
            line_number = self._source.document.lines["rules", number]
            try:
                for text in self._expanded(str(given), 0):
                    parse_rule(Line(text, file, line_number), context)
                    draft.rules.append(DraftRule(text, place, line_number))
                    self._kinds.update(word for word in _DATA if word in text)
            except (LocalError, ValueError) as error:
                why = str(error).removeprefix(f"{file}:{line_number}: ")
                draft.lose_rule(place, why, _target(str(given)))
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
        given = self._source.document.data
        urls = given.get("geox-url") if isinstance(given, dict) else None
        urls = urls if isinstance(urls, dict) else {}
        more = self._source.draft.more
        if "GEOSITE," in self._kinds:
            more["geosite"] = self._own("GeoSite.dat", "geosite.dat") or str(urls.get("geosite") or GEOSITE)
        if "IP-ASN," in self._kinds:
            more["asn"] = self._own("ASN.mmdb", "GeoLite2-ASN.mmdb") or str(urls.get("asn") or ASN)
        if "GEOIP," in self._kinds:
            own = self._own("geoip.metadb", "Country.mmdb", "country.mmdb", "GeoIP.dat", "geoip.dat")
            if own is not None or any(_is_topic(rule.text) for rule in self._source.draft.rules):
                more["geoip"] = own or str(urls.get("mmdb") or urls.get("geoip") or GEOIP)

    def _own(self, *names: str) -> str | None:
        """The first of several files that lies beside the configuration."""
        return next((str(path) for path in map(self._source.beside, names) if path.is_file()), None)


_DATA = ("GEOSITE,", "IP-ASN,", "GEOIP,")


def _is_topic(rule: str) -> bool:
    """Whether a rule is about a GEOIP that is no country of two letters."""
    parts = cut_rule(rule)
    return parts.kind == "GEOIP" and len(parts.value) != 2 and parts.value.upper() not in {"LAN", "PRIVATE"}


def _within(outer: str, inner: RuleText) -> RuleText:
    """A rule of sub-rules, for flows for which `outer` (with brackets around its conditions) holds too."""
    if inner.kind in {"MATCH", "FINAL"}:
        return RuleText("AND", outer, inner.target)
    value = ",".join(part for part in (inner.kind, inner.value, *inner.options) if part)
    return RuleText("AND", f"{outer[:-1]},({value}))", inner.target)


def _target(rule: str) -> str | None:
    """Where a rule sends flows, as far as can be told of one that was not understood."""
    try:
        return cut_rule(rule).target
    except ValueError:
        return None
