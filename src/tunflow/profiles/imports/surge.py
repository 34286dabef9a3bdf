"""Makes a profile of a Surge configuration.

Rules are those of `clash`: each section and key is in a table (`keys/surge.txt`), and what is lost is refused.

Read first: https://manual.nssurge.com
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tunflow.addresses import ip_address, ip_network
from tunflow.dns.upstream import parse_upstream
from tunflow.errors import LocalError, RemoteError
from tunflow.paths import parse_path
from tunflow.profiles.imports import keys
from tunflow.profiles.imports.clash_source import Fetch
from tunflow.profiles.imports.draft import Draft, DraftRule
from tunflow.profiles.imports.draft_rules import DraftRules
from tunflow.profiles.imports.seconds import again_after, seconds_of
from tunflow.profiles.imports.surge_lines import ConfLine, fields, name_and_value, sections, unquoted
from tunflow.profiles.imports.surge_servers import SurgeServers, target
from tunflow.rules.name_patterns import NamePatterns
from tunflow.rules.syntax import ELSEWHERE, RuleText, cut_rule
from tunflow.rules.targets import DIRECT, REJECT, REJECT_DROP

ALL = "servers"
"""The group that a file of servers only gets."""
_OPTIONS_TOLD = ("notification-text", "notification-interval")
_ENCRYPTED = {"USER-AGENT", "URL-REGEX"}
_SYSTEM = "is about Apple's own services, whose names are in Surge itself"
_REFUSING = frozenset({REJECT, REJECT_DROP})
_LISTS = {"RULE-SET": "classical", "DOMAIN-SET": "domain-set"}


def read_surge(text: str, file: str, fetch: Fetch | None = None) -> Draft:
    """What a Surge configuration says; `fetch` gets lists of servers. Raises LocalError."""
    if text.lstrip("\ufeff \r\n").lower().startswith("#!name"):
        raise LocalError(f"{file} is a module of Surge: it adds to a configuration, and is none itself")
    made = _Surge(sections(text), file, fetch)
    made.read()
    return made.draft


class _Surge:
    """The sections of one file, in the order in which they refer to each other."""

    def __init__(self, found: dict[str, list[ConfLine]], file: str, fetch: Fetch | None) -> None:
        self.draft = Draft(file)
        self._sections = found
        self._fetch = fetch
        self._general = {key: (line, value) for line in found.get("General", ()) for key, value in [_pair(line)]}

    def read(self) -> None:
        """All of it."""
        self._include()
        servers = SurgeServers(
            self.draft, self._content, self._value("proxy-test-url"), self._place, fetches=self._fetch is not None
        )
        servers.read(self._sections.get("Proxy", []), self._sections.get("Proxy Group", []))
        rules = self._sections.get("Rule")
        if rules is not None:
            self._rules(rules)
        elif not self.draft.groups and self.draft.servers:
            self.draft.group(ALL, {"type": "select", "servers": list(self.draft.servers)}, self.draft.file)
            self.draft.rules.append(DraftRule(f"MATCH,{ALL}", self.draft.file))
        self._dns()
        for line in self._sections.get("Host", ()):
            self._host(line)
        self._tell_general()
        self._rewrites()
        self._tell_sections()

    def _include(self) -> None:
        """Lines of other files where `#!include` names them, which are of the section that it stands in."""
        for name, lines in self._sections.items():
            if not name:
                continue
            found: list[ConfLine] = []
            for line in lines:
                word, _, paths = line.text.partition(" ")
                if word.lower() != "#!include":
                    found.append(line)
                    continue
                for path in fields(paths):
                    found += self._included(unquoted(path), name, line)
            self._sections[name] = found

    def _included(self, path: str, section: str, line: ConfLine) -> list[ConfLine]:
        """The lines of a file for a section; their place is that of the line which names it."""
        try:
            content, _ = self._content(path)
        except (LocalError, RemoteError) as error:
            what = "DIRECT" if section not in {"Rule", "Proxy", "Proxy Group"} else None
            self.draft.lose_rule(self._place(line.number), f"[{section}]: #!include: {error}", what)
            return []
        there = sections(content.decode("utf-8-sig", "replace"))
        return [each._replace(number=line.number) for each in there.get(section, there.get("", []))]

    def _place(self, number: int) -> str:
        return f"{self.draft.file}:{number}"

    def _tell(self, line: ConfLine, why: str, *, is_lost: bool = True) -> None:
        self.draft.tell(self._place(line.number), why, is_lost=is_lost)

    def _value(self, key: str) -> str | None:
        return self._general[key][1] if key in self._general else None

    def _content(self, path: str) -> tuple[bytes, str]:
        """What is at an address, or in a file beside. Raises LocalError, RemoteError."""
        if "://" in path:
            if self._fetch is None:
                raise LocalError("its servers are fetched by tunflow profile import")
            return self._fetch(path), path.partition("://")[2].partition("/")[0]
        file = self._beside(path)
        try:
            return file.read_bytes(), str(file)
        except OSError as error:
            raise LocalError(f"cannot read {file}: {error.strerror}") from None

    def _beside(self, path: str) -> Path:
        return Path(self.draft.file).parent.absolute() / parse_path(path)

    # Rules.

    def _rules(self, lines: list[ConfLine]) -> None:
        rules: list[tuple[ConfLine, str]] = []
        for line in lines:
            try:
                if not self._is_told(line, lines[-1]):
                    rules.append((line, self._rule(line)))
            except (LocalError, ValueError) as error:
                DraftRules(self.draft).lose(line.text, self._place(line.number), line.number, error)
        taken = DraftRules(self.draft)
        for line, text in rules:
            try:
                taken.take(text, self._place(line.number), line.number)
            except (LocalError, ValueError) as error:
                taken.lose(text, self._place(line.number), line.number, error)

    def _is_told(self, line: ConfLine, last: ConfLine) -> bool:
        """Return True if a rule is about what nobody here sees, and no flow gets out for want of it."""
        kind, value, *_ = [*(each.strip() for each in line.text.split(",")), ""]
        is_system = kind.upper() == "RULE-SET" and unquoted(value).upper() == "SYSTEM"
        if kind.upper() not in _ENCRYPTED and not is_system:
            return False
        ends_direct = target(line.text.rpartition(",")[2].strip()) in {DIRECT, *_REFUSING}
        if not ends_direct and last.text.upper().startswith("FINAL,DIRECT"):
            return False
        words = _SYSTEM if is_system else ELSEWHERE[kind.upper()]
        self._tell(line, f"{line.text[:80]}: {words}", is_lost=False)
        return True

    def _rule(self, line: ConfLine) -> str:
        """A rule in our words; its list becomes a rule set. Raises LocalError, ValueError."""
        if line.text.startswith("#!"):
            raise LocalError(f"{line.text.split()[0]} is not known; #!include is")
        parts = cut_rule(unquoted(line.text))
        options, interval = [], ""
        for option in parts.options:
            name = option.partition("=")[0].strip().lower()
            if name == "update-interval":
                interval = option.partition("=")[2].strip()
            elif name in _OPTIONS_TOLD:
                words = keys.fates("surge", "rule")[name].words
                self._tell(line, f"{name}: {words}", is_lost=False)
            else:
                options.append(option)
        parts = parts._replace(target=target(parts.target), options=tuple(options))
        if parts.kind == "PROTOCOL":
            if parts.value.upper() not in {"TCP", "UDP"}:
                raise ValueError(f"PROTOCOL {parts.value} is not supported; TCP and UDP are")
            parts = parts._replace(kind="NETWORK", value=parts.value.lower())
        if parts.kind in _LISTS:
            parts = self._list(parts, line, interval)
        return parts.text

    def _list(self, parts: RuleText, line: ConfLine, interval: str) -> RuleText:
        """The rule of a list, whose list becomes one of the draft's. Raises LocalError."""
        where = unquoted(parts.value)
        if parts.kind == "RULE-SET" and where.upper() == "LAN":
            return parts._replace(kind="GEOIP", value="LAN")
        if parts.kind == "RULE-SET" and where.upper() == "SYSTEM":
            raise LocalError(f"RULE-SET,SYSTEM {_SYSTEM}")
        behavior = _LISTS[parts.kind]
        inline = self._sections.get(f"Ruleset {where}")
        if inline is not None:
            texts = [each.text for each in inline]
            DraftRules(self.draft).check_list("\n".join(texts), behavior, f"[Ruleset {where}]")
            section: dict[str, Any] = {"behavior": behavior, "lines": texts}
        elif "://" in where:
            section = {"behavior": behavior, "url": where, **again_after(seconds_of(f"{interval}s"))}
        else:
            section = {"behavior": behavior, "file": str(self._beside(where))}
        name = self._list_name(where, section)
        self.draft.rule_sets[name] = section
        self.draft.lines.setdefault(("rule_sets", name), line.number)
        return parts._replace(kind="RULE-SET", value=name)

    def _list_name(self, where: str, section: dict[str, Any]) -> str:
        stem = re.sub(r"[^\w.-]", "-", where.rstrip("/").rpartition("/")[2].partition("?")[0]).strip("-.") or "list"
        names = [stem, *(f"{stem}-{number}" for number in range(2, len(self.draft.rule_sets) + 3))]
        return next(each for each in names if self.draft.rule_sets.get(each, section) == section)

    # Names.

    def _dns(self) -> None:
        plain = self._resolvers("dns-server")
        encrypted = self._resolvers("encrypted-dns-server")
        if servers := encrypted or plain:
            self.draft.dns["servers"] = servers
        if encrypted and plain:
            self.draft.dns["bootstrap"] = plain
        if (self._value("ipv6") or "").lower() == "false":
            self.draft.dns["hide_aaaa"] = True

    def _resolvers(self, key: str) -> list[str]:
        found = []
        if key in self._general:
            line, value = self._general[key]
            for text in fields(value):
                if text.lower() in {"system", ""}:
                    continue  # the system's resolvers would be asked past the tunnel
                try:
                    parse_upstream(text)
                    found.append(text)
                except LocalError as error:
                    self._tell(line, f"{key}: {error}")
        return found

    def _host(self, line: ConfLine) -> None:
        """`name = addresses`, `name = other name` or `name = server:ADDRESS`."""
        name, value = name_and_value(line.text)
        try:
            if name.upper().startswith(("DOMAIN-SET:", "RULE-SET:")):
                raise LocalError("lists of names with hosts are not supported: dns.routes in the profile are")
            pattern = _pattern(name)
            NamePatterns([pattern])
            kind, colon, rest = value.partition(":")
            if colon and kind.lower() == "server":
                self._route(pattern, rest.strip())
                return
            if colon and kind.lower() == "script":
                raise LocalError("scripts are not run")
            values = list(fields(value))
            self.draft.dns.setdefault("hosts", {})[pattern.removeprefix("full:")] = _addresses(values)
        except (LocalError, ValueError) as error:
            self._tell(line, f"Host: {name}: {error}")

    def _route(self, pattern: str, servers: str) -> None:
        """Names with a resolver of their own. Raises LocalError."""
        found = [each.strip() for each in servers.split(",")]
        if any(each.lower() in {"system", "syslib"} for each in found):
            raise LocalError("the system's resolvers would be asked past the tunnel: give their address")
        for each in found:
            parse_upstream(each)
        routes = self.draft.dns.setdefault("routes", [])
        same = next((route for route in routes if route["servers"] == found), None)
        if same is not None:
            same["domains"].append(pattern)
        else:
            routes.append({"domains": [pattern], "servers": found})

    # What is said.

    def _tell_general(self) -> None:
        values = {key: value for key, (_, value) in self._general.items()}
        for key, words, is_refused in keys.unspoken("surge", "general", values):
            self._tell(self._general[key][0], f"{key}: {words}", is_lost=is_refused and words != "is not known")
        excluded = []
        for key in ("tun-excluded-routes", "bypass-tun"):
            for text in fields(self._value(key) or ""):
                try:
                    excluded.append(str(ip_network(text, strict=False)))
                except ValueError:
                    self._tell(self._general[key][0], f"{key}: {text} is not a network")
        if excluded:
            self.draft.more["tunnel"] = {"excluded_routes": list(dict.fromkeys(excluded))}

    def _rewrites(self) -> None:
        """`EXPRESSION _ reject`: a line of the filter's. Others change what a client asks for, inside TLS mostly."""
        kept = []
        for line in self._sections.get("URL Rewrite", ()):
            words = line.text.split()
            if len(words) > 1 and words[-1].lower().startswith("reject"):
                kept.append(f"/{words[0]}/")
            else:
                self._tell(line, f"URL Rewrite: {words[-1]} changes what clients ask for: only reject is supported")
        if kept:
            self.draft.more["filter"] = {"lists": [{"name": "url-rewrite", "lines": kept}]}

    def _tell_sections(self) -> None:
        fates = keys.fates("surge", "sections")
        for name, lines in self._sections.items():
            kind = name.partition(" ")[0]
            fate = fates.get(f"[{name.replace(' ', '_')}]") or fates.get(f"[{kind}_NAME]")
            if not lines or not name or (fate is not None and fate.state == "done"):
                continue
            words = fate.words if fate is not None else "is not a section of Surge: it is passed over"
            self._tell(lines[0]._replace(number=lines[0].number - 1), f"[{name}]: {words}", is_lost=False)
        for line in self._sections.get("", ()):
            self._tell(line, f"{line.text.split()[0]}: tunflow profile update fetches a profile again", is_lost=False)


def _pair(line: ConfLine) -> tuple[str, str]:
    name, value = name_and_value(line.text)
    return name.lower(), value


def _pattern(name: str) -> str:
    """Names as we write them: a star of Surge's stands for any characters. Raises LocalError."""
    if "*" not in name and "?" not in name:
        return f"full:{name}"
    if name.startswith("*.") and not re.search(r"[*?]", name[2:]):
        return name[1:]
    raise LocalError("a wildcard is read at the beginning, as in *.example.com")


def _addresses(values: list[str]) -> list[str]:
    """Addresses, or the one other name that a name stands for. Raises ValueError."""
    try:
        return [str(ip_address(each)) for each in values]
    except ValueError:
        if len(values) == 1:
            return values
        raise
