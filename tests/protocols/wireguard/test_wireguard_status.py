"""What is shown of an interface: wg show's words, and no secret."""

from __future__ import annotations

import json

from wireguard_world import World, pair, to_server

from tunflow.protocols.wireguard.keys import format_key
from tunflow.protocols.wireguard.status import as_data, as_text


def test_status():
    world = World()
    client, server = pair(world, keepalive=25, preshared=b"secret-preshared" * 2)
    world.send(client, [to_server(b"x" * 2000)[:1400]])
    world.run(75.0)
    lines = as_text(client, "wg0", 51820, world.now).splitlines()
    assert lines == [
        "interface: wg0",
        f"  public key: {format_key(client.identity.public)}",
        "  private key: (hidden)",
        "  listening port: 51820",
        "",
        f"peer: {format_key(server.identity.public)}",
        "  preshared key: (hidden)",
        "  endpoint: 192.0.2.9:51820",
        "  allowed ips: 0.0.0.0/0",
        "  latest handshake: 1 minute, 15 seconds ago",
        lines[10],
        "  persistent keepalive: every 25 seconds",
    ]
    assert lines[10].startswith("  transfer: ")
    assert lines[10].endswith(" KiB sent")
    (peer,) = as_data(client, world.now)["peers"]
    assert (peer["latest_handshake"], peer["endpoint"]) == (75, "192.0.2.9:51820")
    shown = json.dumps(as_data(client, world.now))
    assert format_key(client.identity.private) not in shown
    assert format_key(b"secret-preshared" * 2) not in shown


def test_status_before_any_handshake():
    world = World()
    _, server = pair(world)
    text = as_text(server, "wg0", 51820, 0.0)
    assert "handshake" not in text
    assert "transfer" not in text
    assert "endpoint" not in text
