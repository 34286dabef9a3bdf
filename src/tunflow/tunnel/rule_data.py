"""The lists that rules are about, on disk: registries' country files and rule sets that were fetched.

They live in `/var/lib/tunflow` for root and in `$XDG_DATA_HOME/tunflow` (by default below `~/.local/share`) for
everybody else, who then also sees root's. `TUNFLOW_DATA_DIR` names another place.

    delegated/REGISTRY.txt         registries' files, as they come
    rule-sets/DIGEST.list          rule sets by the SHA-256 of their URL
    *.json                         beside each: its URL, ETag, SHA-256, and when it was fetched

Reading a list is checking it: what was fetched is parsed before it replaces what was there (`rule_update`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from tunflow.addresses import ip_address, ip_network
from tunflow.errors import BadPacket, LocalError
from tunflow.host.rights.open_file import OpenFile, open_file
from tunflow.rules.cidr import CIDRSet, IPNetwork
from tunflow.rules.conditions import AddressTest
from tunflow.rules.delegated import parse_delegated_untrusted

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
        self._reader: _Database | None = None

    def test(self, code: str) -> AddressTest:
        """Whether an address is a country's: what a GEOIP rule needs. Raises LocalError."""
        if self._database is None:
            return self.addresses(code)
        if self._reader is None:
            self._reader = _Database(self._database)
        return _Country(self._reader, _checked(code))

    def addresses(self, code: str) -> CIDRSet:
        """All addresses of a country: what routes need. Raises LocalError."""
        code = _checked(code)
        found = self._known.get(code)
        if found is None:
            found = self._known[code] = self._read(code)
        return found

    def _read(self, code: str) -> CIDRSet:
        names = {path.name for place in self._places for path in place.glob("delegated/*.txt")}
        if not names:
            raise LocalError(f"there is no country data for {code}: run tunflow rules update")
        found = CIDRSet()
        for name in sorted(names):
            path = find(Path("delegated", name), self._places)
            assert path is not None
            try:
                found |= parse_delegated_untrusted(read(path), [code]).get(code, CIDRSet())
            except BadPacket as error:
                raise LocalError(f"{path}: {error}; tunflow rules update fetches it again") from None
        if not found:
            raise LocalError(
                f"{code} has no addresses in the registries' files that are here; "
                "tunflow rules update --registry all fetches those of all registries"
            )
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


class _Database:
    """A MaxMind database of countries."""

    def __init__(self, path: Path) -> None:
        import maxminddb  # noqa: PLC0415 (few need it)

        try:
            self._reader = maxminddb.open_database(str(path), maxminddb.MODE_MEMORY)
        except OSError as error:
            raise LocalError(f"cannot read the country database {path}: {error.strerror or error}") from None
        except Exception as error:  # whatever a broken file makes of the reader
            raise LocalError(f"{path}: not a country database (MMDB): {' '.join(str(error).split())}") from None

    def country(self, packed: bytes) -> str | None:
        """The code of the country that an address is in."""
        try:
            found = self._reader.get(ip_address(packed))
        except Exception:  # no IPv6 in it; or it is broken there, and the reader stumbles in many ways
            return None
        if not isinstance(found, dict):
            return None
        country = found.get("country") or found.get("registered_country")
        code = country.get("iso_code") if isinstance(country, dict) else None
        return code if isinstance(code, str) else None


class _Country:
    """The addresses of a country of a database."""

    __slots__ = ("_code", "_database")

    def __init__(self, database: _Database, code: str) -> None:
        self._database = database
        self._code = code

    def __contains__(self, packed: bytes) -> bool:
        return self._database.country(packed) == self._code
