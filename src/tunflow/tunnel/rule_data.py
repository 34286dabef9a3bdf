"""The lists that rules are about, on disk: registries' country files and rule sets that were fetched.

They live in `/var/lib/tunflow` for root and in `$XDG_DATA_HOME/tunflow` (by default below `~/.local/share`) for
everybody else, who then also sees root's. `TUNFLOW_DATA_DIR` names another place.

    delegated/REGISTRY.txt         registries' files, as they come
    rule-sets/DIGEST.list          rule sets by the SHA-256 of their URL
    server-lists/DIGEST.list       lists of servers, mode 0600
    geo/DIGEST.dat                 files of countries, names and operators that a profile names by URL
    *.json                         beside each: its URL, ETag, SHA-256, and when it was fetched

Reading a list is checking it: what was fetched is parsed before it replaces what was there (`rule_update`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from tunflow.addresses import ip_address, ip_network
from tunflow.errors import BadPacket, LocalError
from tunflow.host.rights.open_file import OpenFile, open_file
from tunflow.rules import headless_rules, mrs, srs
from tunflow.rules.cidr import CIDRSet, IPNetwork
from tunflow.rules.conditions import AddressTest
from tunflow.rules.delegated import parse_delegated_untrusted
from tunflow.rules.geo_data import addresses_untrusted
from tunflow.rules.registries import registry_of
from tunflow.rules.syntax import MissingData

SYSTEM = Path("/var/lib/tunflow")
DATA_VARIABLE = "TUNFLOW_DATA_DIR"
LARGEST = 64 * 1024 * 1024
"""Bytes of a list."""


def directories(environment: Mapping[str, str] | None = None, uid: int | None = None) -> list[Path]:
    """Where lists are looked for, in order; new ones go to the first."""
    environment = os.environ if environment is None else environment
    if environment.get(DATA_VARIABLE):
        return [Path(environment[DATA_VARIABLE])]
    if (os.geteuid() if uid is None else uid) == 0:
        return [SYSTEM]
    base = environment.get("XDG_DATA_HOME", "")
    home = Path(base) if base.startswith("/") else Path(environment.get("HOME", "/"), ".local", "share")
    return [home / "tunflow", SYSTEM]


def rule_set_path(url: str) -> Path:
    """Where a fetched rule set is, below a data directory."""
    return Path("rule-sets", hashlib.sha256(url.encode()).hexdigest()[:24] + ".list")


def server_list_path(url: str) -> Path:
    """Where a fetched list of servers is, below a data directory."""
    return Path("server-lists", hashlib.sha256(url.encode()).hexdigest()[:24] + ".list")


def geo_path(url: str) -> Path:
    """Where a fetched file of countries, names or operators is, below a data directory."""
    return Path("geo", hashlib.sha256(url.encode()).hexdigest()[:24] + ".dat")


def list_text(content: bytes, file: str, behavior: str) -> str:
    """A rule set's text, also of one that Clash (MRS) or sing-box (SRS) packed. Raises LocalError."""
    if content.startswith(srs.MAGIC):
        if behavior != headless_rules.BEHAVIOR:
            raise LocalError(f'{file}: it is packed as sing-box does (SRS): behavior = "{headless_rules.BEHAVIOR}"')
        try:
            return json.dumps({"rules": srs.rules_untrusted(content)})
        except BadPacket as error:
            raise LocalError(f"{file}: {error}") from None
    if content.startswith(mrs.MAGIC):
        try:
            return "\n".join(mrs.entries_untrusted(content, behavior))
        except BadPacket as error:
            raise LocalError(f"{file}: {error}") from None
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise LocalError(f"{file}: not UTF-8 text (byte {error.start})") from None


def find(relative: Path, places: list[Path] | None = None) -> Path | None:
    """A list in the first place that has it."""
    return next((place / relative for place in places or directories() if (place / relative).is_file()), None)


def read(path: Path, opens: OpenFile = open_file) -> bytes:
    """A list's bytes. Raises LocalError."""
    try:
        with os.fdopen(opens(path, False), "rb") as file:
            if os.fstat(file.fileno()).st_size > LARGEST:
                raise LocalError(f"{path}: more than {LARGEST} bytes is no list")
            return file.read()
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}") from None


class Countries:
    """Countries' addresses: out of a database if one is given, else out of all registries' files there are.

    A country is read when it is first asked for.
    """

    def __init__(self, database: Path | None = None, places: list[Path] | None = None) -> None:
        self._database = database
        self._places = directories() if places is None else places
        self._known: dict[str, CIDRSet] = {}
        self._reader: _CountryReader | None = None

    def test(self, code: str) -> AddressTest:
        """The test whether an address is a country's, for GEOIP rules.

        Raises LocalError, and MissingData when the data for it is not here.
        """
        if self._database is None:
            return self.addresses(code)
        if self._reader is None:
            self._reader = _open(self._database)
        return self._reader.test(code)

    def addresses(self, code: str) -> CIDRSet:
        """All addresses of a country: what routes need. Raises LocalError, MissingData when they are not here."""
        code = _checked(code)
        found = self._known.get(code)
        if found is None:
            found = self._known[code] = self._read(code)
        return found

    def _read(self, code: str) -> CIDRSet:
        registry = registry_of(code)
        if find(Path("delegated", f"{registry}.txt"), self._places) is None:
            command = "tunflow rules update" + ("" if registry == "apnic" else f" --registry {registry}")
            raise MissingData(f"there is no country data for {code}, which is {registry}'s: run {command}")
        names = {path.name for place in self._places for path in place.glob("delegated/*.txt")}
        found = CIDRSet()
        for name in sorted(names):
            path = find(Path("delegated", name), self._places)
            assert path is not None
            try:
                found |= parse_delegated_untrusted(read(path), [code]).get(code, CIDRSet())
            except BadPacket as error:
                raise LocalError(f"{path}: {error}; tunflow rules update fetches it again") from None
        if not found:
            raise LocalError(f"{code} has no addresses in the registries' files: is it a country?")
        return found


def networks(texts: Iterable[str]) -> tuple[IPNetwork, ...]:
    """The networks that a profile's routes name: prefixes, and countries by two letters. Raises LocalError."""
    countries = Countries()
    found: list[IPNetwork] = []
    for text in texts:
        if len(text) == 2 and text.isalpha():
            found += countries.addresses(text).networks()
        else:
            try:
                found.append(ip_network(text))
            except ValueError as error:
                raise LocalError(f"{text!r} is neither a network nor a country: {error}") from None
    return tuple(found)


def _checked(code: str) -> str:
    if not (len(code) == 2 and code.isascii() and code.isalpha()):
        raise LocalError(f"{code!r} is not a country: two letters like CN are")
    return code.upper()


class _CountryReader(Protocol):
    """A file of countries."""

    def test(self, code: str) -> AddressTest:
        """A country's addresses. Raises LocalError for one that the file has not."""


def _open(path: Path) -> _CountryReader:
    """A MaxMind database (also Clash's metadb), or V2Ray's geoip.dat. Raises LocalError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LocalError(f"cannot read the country database {path}: {error.strerror}") from None
    return _Database(path) if _MMDB in content[-MMDB_END:] else _Dat(path, content)


_MMDB = b"\xab\xcd\xefMaxMind.com"
MMDB_END = 128 * 1024
"""Bytes at the end of a MaxMind database in which its metadata begins (MaxMind DB file format, "Metadata")."""


class _Dat:
    """V2Ray's geoip.dat."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path = path
        self._content = content

    def test(self, code: str) -> AddressTest:
        try:
            found = addresses_untrusted(self._content, code)
        except BadPacket as error:
            raise LocalError(f"{self._path}: not a country database (MMDB or geoip.dat): {error}") from None
        if found is None:
            raise LocalError(f"{self._path} has no country {code}")
        return found


class _Database:
    """A MaxMind database of countries."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = _reader(path, "country")

    def test(self, code: str) -> AddressTest:
        code = code.upper()
        try:
            is_there = any(code in _codes(record) for _, record in self._reader)
        except Exception as error:  # whatever a broken file makes of the reader
            raise LocalError(f"{self._path}: not a country database (MMDB): {' '.join(str(error).split())}") from None
        if not is_there:
            raise LocalError(f"{self._path} has no country {code}")
        return _Records(self._reader, lambda record: code in _codes(record))


class Operators:
    """The addresses of operators, by the numbers of their autonomous systems, in a MaxMind database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: Any = None

    def test(self, number: str) -> AddressTest:
        """An operator's addresses. Raises LocalError."""
        if self._reader is None:
            self._reader = _reader(self._path, "operator")
        wanted = int(number)
        return _Records(
            self._reader,
            lambda record: isinstance(record, dict) and record.get("autonomous_system_number") == wanted,
        )


def _reader(path: Path, what: str) -> Any:
    import maxminddb  # noqa: PLC0415 (few need it)

    try:
        return maxminddb.open_database(str(path), maxminddb.MODE_MEMORY)
    except OSError as error:
        raise LocalError(f"cannot read the {what} database {path}: {error.strerror or error}") from None
    except Exception as error:  # whatever a broken file makes of the reader
        raise LocalError(f"{path}: not a {what} database (MMDB): {' '.join(str(error).split())}") from None


def _codes(record: object) -> tuple[str, ...]:
    """The countries and topics of a record: MaxMind's table, or the text or list of Clash's metadb and sing-geoip."""
    if isinstance(record, str):
        return (record.upper(),)
    if isinstance(record, list):
        return tuple(each.upper() for each in record if isinstance(each, str))
    if not isinstance(record, dict):
        return ()
    country = record.get("country") or record.get("registered_country")
    code = country.get("iso_code") if isinstance(country, dict) else None
    return (code.upper(),) if isinstance(code, str) else ()


class _Records:
    """The addresses of a database whose record is a certain one."""

    __slots__ = ("_is_meant", "_reader")

    def __init__(self, reader: Any, is_meant: Callable[[object], bool]) -> None:
        self._reader = reader
        self._is_meant = is_meant

    def __contains__(self, packed: bytes) -> bool:
        try:
            return self._is_meant(self._reader.get(ip_address(packed)))
        except Exception:  # no IPv6 in it; or it is broken there, and the reader stumbles in many ways
            return False
