r"""SIP003 plugins: those that tunflow speaks itself, so that links which name them need no program, and programs.

Read first: SIP003 (shadowsocks.org): `NAME;KEY=VALUE;FLAG`, with backslashes before `;`, `=` and `\`. obfs-local and
v2ray-plugin without mux are spoken here; every other name is a program's.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping

from tunflow.errors import LocalError
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.contract import OutboundContext
from tunflow.protocols.link import printable
from tunflow.protocols.session import PluginProgram
from tunflow.protocols.transport.layers import Layers, layers
from tunflow.protocols.transport.transport import Transport
from tunflow.single_values import TwoValues, text_json_value

_OBFS = frozenset({"obfs-local", "simple-obfs", "obfs"})
_V2RAY = frozenset({"v2ray-plugin"})
_OBFS_KEYS = frozenset({"obfs", "obfs-host", "obfs-uri", "fast-open"})
_V2RAY_KEYS = frozenset({"mode", "tls", "host", "path", "mux", "fast-open", "fastOpen", "loglevel", "cert", "certRaw"})
_OF_ITS_PROGRAM = frozenset({"cert", "certRaw"})
"""Options of v2ray-plugin that its program does."""
_KNOWN_PROGRAMS = frozenset(
    {"v2ray-plugin", "xray-plugin", "gost-plugin", "ck-client", "gq-client", "simple-tls", "qtun-client", "mtt-client"}
)
"""Programs that are nothing but plugins: the only ones that a list which somebody else made may have started."""
_PACKAGES = {"v2ray-plugin": (("v2ray-plugin", "ss-v2ray-plugin"), "shadowsocks-v2ray-plugin")}
"""How a program is called, and Debian's package of it."""
_ROCKET_KEYS = frozenset({"mode", "host", "path", "tls", "mux", "allowInsecure"})
_ROCKET_HARMLESS = frozenset({"address", "port", "tfo"})
_USUAL_HOST = "cloudfront.com"
"""What both plugins pretend where nothing is said."""


def check(text: str) -> None:
    """Raises LocalError for what names no plugin, or an option of tunflow's own that is not known."""
    name, options = _parsed(text)
    if not text.isprintable() or not re.fullmatch(r"[^\s=]+", name):
        raise LocalError("plugin is NAME;OPTION=VALUE;…: a program's name or path, and what it is told")
    if name in _OBFS:
        _known(name, options, _OBFS_KEYS)
        if options.get("obfs") not in {"http", "tls"}:
            raise LocalError(f"{name}: obfs is http or tls")
    elif name in _V2RAY:
        _known(name, options, _V2RAY_KEYS)
        if options.get("mode", "websocket") not in {"websocket", "quic"}:
            raise LocalError(f"{name}: mode {printable(options['mode'])} is not known; websocket and quic are")
    else:
        return
    for key in ("host", "obfs-host", "path", "obfs-uri"):
        if not re.fullmatch(r"[\x21-\x7e]*", options.get(key, "")):
            raise LocalError(f"{name}: {key} is printable ASCII without blanks")


def check_foreign(text: str) -> None:
    """Raises LocalError for a program that nobody but this machine's user may have started."""
    name, _ = _parsed(text)
    if not (name in _OBFS or name in _KNOWN_PROGRAMS):
        raise LocalError(
            f"the plugin {printable(name)!r} would be a program of this machine that a list names; accepted are "
            f"obfs-local and {', '.join(sorted(_KNOWN_PROGRAMS))}; another one is yours to write into a profile"
        )


def program_of(text: str) -> PluginProgram | None:
    """The program of a plugin, which `check` has seen; None for one that is spoken here."""
    name, options = _parsed(text)
    if name in _OBFS:
        return None
    is_plain = options.get("mode", "websocket") == "websocket" and options.get("mux", "1") == "0"
    if name in _V2RAY and is_plain and _OF_ITS_PROGRAM.isdisjoint(options):
        return None
    programs, package = _PACKAGES.get(name, ((name,), ""))
    return PluginProgram(programs, package, text.partition(";")[2])


def plugin_layers(text: str, server: tuple[str, int], context: OutboundContext) -> Layers:
    """What a plugin, which `check` knows, lays below Shadowsocks to `server` (host and port)."""
    name, options = _parsed(text)
    if name in _OBFS:
        from tunflow.protocols.transport.simple_obfs import HTTPObfs, TLSObfs  # noqa: PLC0415 (which few need)

        host = options.get("obfs-host", _USUAL_HOST)
        if options["obfs"] == "tls":
            return Layers([lambda: TLSObfs(host, context.random_bytes, context.unix_time)])
        where = host if server[1] == 80 else f"{host}:{server[1]}"
        return Layers([lambda: HTTPObfs(where, options.get("obfs-uri", "/"), context.random_bytes)])
    host = options.get("host", _USUAL_HOST)
    path = options.get("path", "/")
    path = path if path.startswith("/") else f"/{path}"
    tls = "tls" in options
    return layers(Transport("ws", tls, host if tls else None, host=host, path=path), server, context)


def from_clash(entry: ClashEntry) -> str:
    """The plugin of a Clash entry as SIP003 has it, "" for none. Raises LocalError."""
    name = entry.text("plugin")
    if name is None:
        return ""
    given = entry.value("plugin-opts")
    check_foreign(name)
    if isinstance(given, str) or name not in _V2RAY | {"obfs"}:  # as sing-box and SIP008 have it
        return f"{name};{entry.text('plugin-opts')}" if given else name
    table = entry.table("plugin-opts")
    if name == "obfs":
        (mode,) = table.required("mode")
        options = {"obfs": mode, "obfs-host": table.text("host")}
        name = "obfs-local"
    else:
        options = {"mode": table.text("mode"), "host": table.text("host"), "path": table.text("path")}
        options |= {"tls": "" if table.flag("tls") else None, "mux": None if table.flag("mux", default=True) else "0"}
        if table.flag("skip-cert-verify"):
            raise LocalError("plugin-opts: skip-cert-verify is not supported: the certificate must be valid")
    if table.unread:
        raise LocalError(f"plugin-opts has {printable(table.unread[0])}, which is not supported")
    return ";".join([name, *(_word(key, value) for key, value in options.items() if value is not None)])


def from_rocket(text: str) -> str:
    """The plugin of Shadowrocket's `v2ray-plugin=`, which is JSON in base64, as SIP003 has it. Raises LocalError."""
    digits = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        values = text_json_value(b64decode(digits + "=" * (-len(digits) % 4), validate=True))
    except TwoValues as error:
        raise LocalError(f"v2ray-plugin in an ss:// link: {error}") from None
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise LocalError("v2ray-plugin in an ss:// link is JSON in base64, as Shadowrocket writes it")
    if unknown := sorted(set(values) - _ROCKET_KEYS - _ROCKET_HARMLESS):
        known = ", ".join(sorted(_ROCKET_KEYS))
        raise LocalError(f"v2ray-plugin in an ss:// link has {printable(unknown[0])!r}; accepted: {known}")
    if values.get("allowInsecure"):
        raise LocalError("v2ray-plugin: allowInsecure is not supported: the certificate must be valid")
    words = [_word(key, str(values[key])) for key in ("mode", "host", "path") if values.get(key)]
    words += ["tls"] if values.get("tls") else []
    return ";".join(["v2ray-plugin", *words, *([] if values.get("mux") else ["mux=0"])])


def _word(key: str, value: str) -> str:
    escaped = re.sub(r"([;=\\])", r"\\\1", value)
    return f"{key}={escaped}" if value else key


def _parsed(text: str) -> tuple[str, dict[str, str]]:
    words = [re.sub(r"\\(.)", r"\1", word) for word in re.split(r"(?<!\\);", text)]
    pairs = [word.partition("=")[::2] for word in words[1:] if word]
    options = dict(pairs)
    if len(options) != len(pairs) and words[0] in _OBFS | _V2RAY:
        twice = next(key for key in options if [each for each, _ in pairs].count(key) > 1)
        raise LocalError(f"{words[0]}: {printable(twice)} is given twice")
    return words[0], options


def _known(name: str, options: Mapping[str, str], keys: frozenset[str]) -> None:
    for key in options:
        if key not in keys:
            raise LocalError(f"{name} has an unknown option {printable(key)!r}; accepted: {', '.join(sorted(keys))}")
