"""An entry of `proxies` in a Clash file, read by the protocol that its `type` names.

What a protocol asked for is remembered, so that the rest can be told or refused: nothing in an entry passes in silence.
"""

from __future__ import annotations

from collections.abc import Mapping

from tunflow.errors import LocalError
from tunflow.protocols.link import printable

_TRUE, _FALSE = frozenset({"true", "yes", "on"}), frozenset({"false", "no", "off", "none", ""})


class ClashEntry:
    """The entry's keys; values are text as YAML has them, or nested mappings and lists."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values
        self._asked = {"name", "type"}

    @property
    def name(self) -> str:
        """What the file calls the server."""
        return str(self._values.get("name", ""))

    @property
    def unread(self) -> list[str]:
        """The keys that nobody asked for, in the file's order."""
        return [key for key in self._values if key not in self._asked]

    def value(self, key: str) -> object:
        """A key's value as it stands, None where there is none."""
        self._asked.add(key)
        return self._values.get(key)

    def text(self, key: str) -> str | None:
        """A key's text, None where there is none or it is empty. Raises LocalError for what is no text."""
        value = self.value(key)
        if value is None or value == "":
            return None
        if isinstance(value, Mapping | list | tuple):
            raise LocalError(f"{key} must be text")
        return str(value)

    def required(self, *keys: str) -> list[str]:
        """The texts of keys that must be there. Raises LocalError that names the missing ones."""
        found = [self.text(key) for key in keys]
        if missing := [key for key, value in zip(keys, found, strict=True) if value is None]:
            raise LocalError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
        return [value for value in found if value is not None]

    def flag(self, key: str, default: bool = False) -> bool:
        """Return True if the key says so, `default` where there is none.

        Raises LocalError for what is neither true nor false.
        """
        given = self.value(key)
        if given is None:
            return default
        value = str(given).lower()
        if value not in _TRUE | _FALSE:
            raise LocalError(f"{key} must be true or false, not {printable(value)!r}")
        return value in _TRUE

    def table(self, key: str) -> ClashEntry:
        """A nested table, empty where there is none. Raises LocalError for what is none."""
        value = self.value(key)
        if value is None:
            return ClashEntry({})
        if not isinstance(value, Mapping):
            raise LocalError(f"{key} must be a table")
        return ClashEntry(value)

    def where(self) -> tuple[str, int]:
        """The server's host (IPv6 without brackets) and port. Raises LocalError."""
        host, port = self.required("server", "port")
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
            raise LocalError(f"port must be a number from 1 to 65535, not {printable(port)!r}")
        return host.removeprefix("[").removesuffix("]"), int(port)
