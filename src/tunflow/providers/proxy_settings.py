"""Which proxies programs are told of: NEProxySettings and NEProxyServer."""

from __future__ import annotations

from dataclasses import dataclass

from tunflow.errors import LocalError
from tunflow.providers import check
from tunflow.urls import NotAURL, parse_url


@dataclass(frozen=True, slots=True)
class ProxyServer:
    """NEProxyServer: an HTTP proxy. A name and password are kept only with `authentication_required`, as Apple does."""

    address: str
    port: int
    authentication_required: bool = False
    username: str | None = None
    password: str | None = None

    def __post_init__(self) -> None:
        if not self.address or any(character.isspace() for character in self.address):
            raise LocalError(f"ProxyServer.address: {self.address!r} is neither a host name nor an address")
        check.within("ProxyServer.port", self.port, 1, 65535)
        if self.username is not None and not self.authentication_required:
            raise LocalError("ProxyServer.username: is used only with authentication_required=True")
        if self.password is not None and not self.username:
            raise LocalError("ProxyServer.password: needs a username, as Apple has it")

    def __repr__(self) -> str:
        return f"ProxyServer(address={self.address!r}, port={self.port})"  # secrets are never logged


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """NEProxySettings: a PAC script by URL or text, or proxies for HTTP and HTTPS.

    `exception_list` are suffixes that are not proxied, `match_domains` (None: everything) those that are.
    """

    proxy_auto_configuration_url: str | None = None
    proxy_auto_configuration_javascript: str | None = None
    http_server: ProxyServer | None = None
    https_server: ProxyServer | None = None
    exclude_simple_hostnames: bool = False
    exception_list: tuple[str, ...] = ()
    match_domains: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        url, script = self.proxy_auto_configuration_url, self.proxy_auto_configuration_javascript
        if url is not None and not _is_web_or_file(url):
            raise LocalError(f"ProxySettings.proxy_auto_configuration_url: {url!r} is not an http, https or file URL")
        if script is not None and "FindProxyForURL" not in script:
            raise LocalError(
                "ProxySettings.proxy_auto_configuration_javascript: has no function FindProxyForURL(url, host)"
            )
        for field in ("http_server", "https_server"):
            server = getattr(self, field)
            if server is not None and not isinstance(server, ProxyServer):
                raise LocalError(f"ProxySettings.{field}: {server!r} is not a ProxyServer")
        exceptions = tuple(
            check.domain("ProxySettings.exception_list", value)
            for value in check.texts("ProxySettings.exception_list", self.exception_list)
        )
        object.__setattr__(self, "exception_list", exceptions)
        if self.match_domains is not None:
            matched = check.texts("ProxySettings.match_domains", self.match_domains)
            domains = tuple(check.domain("ProxySettings.match_domains", value) for value in matched)
            object.__setattr__(self, "match_domains", domains)

    @property
    def auto_proxy_configuration_enabled(self) -> bool:
        """True if a PAC script decides."""
        return self.proxy_auto_configuration_url is not None or self.proxy_auto_configuration_javascript is not None


def _is_web_or_file(url: str) -> bool:
    try:
        return parse_url(url).scheme in {"http", "https", "file"}
    except NotAURL:
        return False
