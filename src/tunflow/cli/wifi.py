"""`tunflow wifi`: the networks in the air and the one that this machine is on."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
import time
from collections.abc import Sequence

from tunflow.cli.stderr import printable, say
from tunflow.errors import LocalError
from tunflow.host.wifi.backend import WifiBackend, strongest
from tunflow.host.wifi.found import find_wifi
from tunflow.providers.hotspot_network import HotspotNetwork

NOT_JOINED = 3
"""Exit status of `status` where this machine is on no network."""


def wifi(options: argparse.Namespace) -> int:
    """Do it; the exit status. Raises LocalError."""
    if options.action == "watch" and not options.every >= 0.1:
        raise LocalError("--every: expected 0.1 seconds or more")
    backend = find_wifi(options.interface)
    return _ACTIONS[options.action](backend, options)


def _list(backend: WifiBackend, options: argparse.Namespace) -> int:
    found = backend.networks()
    networks = found if options.all else strongest(found)
    if options.json:
        facts = {
            "interface": backend.interface,
            "backend": backend.name,
            "networks": [each.facts() for each in networks],
        }
        _print(json.dumps(facts, indent=2))
    else:
        _print("\n".join(_lines(networks)) or "no network is in the air")
    return 0


def _status(backend: WifiBackend, options: argparse.Namespace) -> int:
    network = backend.current()
    if options.json:
        _print(json.dumps(_status_facts(backend, network), indent=2))
    else:
        _print(_lines([network])[0] if network else f"{backend.interface} is on no network")
    return NOT_JOINED if network is None else 0


def _watch(backend: WifiBackend, options: argparse.Namespace) -> int:
    before: object = ()
    printed = 0
    while True:
        network = backend.current()
        now = None if network is None else (network.ssid, network.bssid, network.bars)
        if now != before:
            before = now
            if options.json:
                _print(json.dumps(_status_facts(backend, network)))
            else:
                _print(_lines([network])[0] if network else f"{backend.interface} is on no network")
            printed += 1
        if options.count is not None and printed >= options.count:
            return 0
        time.sleep(options.every)


def _join(backend: WifiBackend, options: argparse.Namespace) -> int:
    passphrase = None
    if not options.open:
        asked = getpass.getpass(f"passphrase of {options.ssid}: ") if sys.stdin.isatty() else sys.stdin.readline()
        passphrase = asked.rstrip("\n")
    backend.join(options.ssid, passphrase)
    return _done(backend, options, joined=options.ssid)


def _forget(backend: WifiBackend, options: argparse.Namespace) -> int:
    backend.forget(options.ssid)
    return _done(backend, options, forgot=options.ssid)


def _done(backend: WifiBackend, options: argparse.Namespace, **facts: str) -> int:
    if options.json:
        _print(json.dumps({"interface": backend.interface, "backend": backend.name, **facts}, indent=2))
    else:
        say("; ".join(f"{word} {printable(name)}" for word, name in facts.items()))
    return 0


def _status_facts(backend: WifiBackend, network: HotspotNetwork | None) -> dict[str, object]:
    facts = None if network is None else network.facts()
    return {"interface": backend.interface, "backend": backend.name, "network": facts}


def _lines(networks: Sequence[HotspotNetwork]) -> list[str]:
    names = [printable(each.ssid) or "(hidden)" for each in networks]
    width = max(map(len, names), default=0)
    return [
        f"{'*' if each.is_current else ' '} {each.bars:<4} {name:<{width}}  {each.bssid}  "
        f"{'passphrase' if each.is_secure else 'open'}"
        for each, name in zip(networks, names, strict=True)
    ]


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - this is the command's output


_ACTIONS = {"list": _list, "status": _status, "watch": _watch, "join": _join, "forget": _forget}
