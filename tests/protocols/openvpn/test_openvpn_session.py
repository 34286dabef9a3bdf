"""Our client against our server in virtual time: handshakes, new keys, bad wires, strangers and wrong papers."""

from __future__ import annotations

import gc
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from OpenSSL import SSL
from openvpn_pki import EPOCH, authority, key_pem
from openvpn_world import INSIDE, START, World, client_settings, packet, server_settings

from cost import resident_memory
from tunflow.errors import LocalError
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.containment import Containment
from tunflow.protocols.openvpn.events import Asked, Connected, Ended, Said, Updated
from tunflow.protocols.openvpn.server_session import Caller, ServerSession
from tunflow.protocols.openvpn.settings import OpenVPNSettings, ServerPart
from tunflow.protocols.openvpn.static_key import ClientKey, StaticKey
from tunflow.protocols.openvpn.tls import Demands, Identity
from tunflow.protocols.openvpn.tunnel_options import TunnelOptions
from tunflow.protocols.openvpn.wrapping import wrap_client_key

KEY = StaticKey(random.Random(7).randbytes(256))
OTHER = StaticKey(random.Random(8).randbytes(256))
OWN = StaticKey(random.Random(9).randbytes(256))
V2 = ClientKey(OWN, wrap_client_key(KEY, OWN, b"\0who"))
PROTECTIONS = {
    "plain": ({}, {}),
    "tls-auth": ({"tls_auth": KEY, "key_direction": 1}, {"tls_auth": KEY, "key_direction": 0}),
    "tls-auth without direction": ({"tls_auth": KEY, "digest": "sha512"}, {"tls_auth": KEY, "digest": "sha512"}),
    "tls-crypt": ({"tls_crypt": KEY}, {"tls_crypt": KEY}),
    "tls-crypt-v2": ({"tls_crypt_v2": V2}, {"tls_crypt_v2_server": KEY}),
}


def exchange(world: World, payload: bytes) -> None:
    """A packet each way, which must arrive."""
    world.send(payload)
    world.reply(payload)
    world.run(1.0)
    assert world.inside[-1] == packet(world.address, INSIDE, payload)
    assert world.outside[-1] == packet(INSIDE, world.address, payload)


@pytest.mark.parametrize("protection", PROTECTIONS)
def test_connect_exchange_and_renegotiate(protection: str) -> None:
    ours, theirs = PROTECTIONS[protection]
    world = World(client_settings(**ours, reneg=100.0), server_settings(**theirs))
    world.until_connected()
    assert world.now - START < 1.0
    exchange(world, b"hello")
    assert world.connected.options.redirect4
    assert world.connected.options.dynamic_tls_crypt
    for number in range(30):  # the soft resets are under a key of the first session by now
        world.run(10.0)
        exchange(world, b"%d" % number)
    assert {data[0] & 7 for data, _ in world.carried if data[0] >> 3 == 9} >= {0, 1, 2}
    assert world.ended is None


def test_one_day_with_a_new_key_every_hour_and_no_lost_packet() -> None:
    world = World(client_settings(reneg=3600.0), server_settings(reneg=3500.0), jitter=0.05)
    world.until_connected()
    for second in range(0, 86_400, 3):
        payload = second.to_bytes(4, "big")
        world.send(payload)
        world.reply(payload)
        world.run(3.0)
    assert [int.from_bytes(each[20:], "big") for each in world.inside] == list(range(0, 86_400, 3))
    assert [int.from_bytes(each[20:], "big") for each in world.outside] == list(range(0, 86_400, 3))
    key_ids = [data[0] & 7 for data, _ in world.carried if data[0] >> 3 == 9]
    assert sum(one != other for one, other in pairwise(key_ids)) >= 24
    assert set(key_ids) == set(range(8))
    assert world.ended is None


@pytest.mark.parametrize("seed", range(6))
def test_a_bad_wire_delays_and_breaks_nothing(seed: int) -> None:
    settings = client_settings(tls_crypt=KEY, reneg=120.0, hand_window=120.0)
    server = server_settings(tls_crypt=KEY, hand_window=120.0, tunnel=TunnelOptions(ping=5, ping_restart=300))
    world = World(settings, server, seed=seed, loss=0.25, jitter=1.0, double=0.2)
    world.until_connected(120.0)
    world.run(600.0)
    assert world.ended is None
    world.loss = 0.0
    exchange_late(world)
    assert len({data[0] & 7 for data, _ in world.carried if data[0] >> 3 == 9}) >= 3


def exchange_late(world: World) -> None:
    world.send(b"late")
    world.run(5.0)
    assert world.inside[-1][20:] == b"late"


def test_both_ends_begin_a_new_key_at_once() -> None:
    world = World(client_settings(reneg=300.0), server_settings(reneg=300.0))
    world.until_connected()
    begun = world.now
    world.run(299.9 - (world.now - begun))
    for _ in range(200):
        world.run(0.05)
        world.send(b"during")
        world.reply(b"during")
    world.run(5.0)
    assert len(world.inside) == len(world.outside) == 200
    world.run(70.0)
    exchange(world, b"after")
    assert {data[0] & 7 for data, _ in world.carried if data[0] >> 3 == 9} == {0, 1}


@pytest.mark.parametrize("ciphers", [("AES-128-GCM",), ("CHACHA20-POLY1305",), ("AES-256-CBC",), ("AES-192-GCM",)])
def test_ciphers_are_agreed_on(ciphers: tuple[str, ...]) -> None:
    world = World(client_settings(ciphers=ciphers, digest="sha256"), server_settings(digest="sha256", ciphers=ciphers))
    world.until_connected()
    assert world.connected.options.cipher == ciphers[0]
    exchange(world, b"hello")


def test_no_common_cipher_is_said() -> None:
    world = World(client_settings(ciphers=("AES-192-GCM",)))
    world.run(20.0, lambda: world.ended is not None)
    assert world.ended is not None
    assert "no shared cipher" in world.ended.reason
    assert world.ended.fatal


def test_no_answer() -> None:
    world = World(client_settings(tls_crypt=OTHER), server_settings(tls_crypt=KEY))
    world.run(60.0, lambda: world.ended is not None)
    assert world.ended == Ended("no answer from udp://192.0.2.1:1194: port, firewall or tls-crypt key", False)
    assert world.now - START == pytest.approx(20.0)
    assert all(to_server for _, to_server in world.carried), "a server does not answer who does not know its key"
    assert world.server.next_timeout() is None, "and keeps nothing of it"


def certificate_trouble(**changes: object) -> str:
    world = World(client_settings(**changes))
    world.run(20.0, lambda: world.ended is not None)
    assert world.ended is not None
    assert world.ended.fatal
    return world.ended.reason


def test_servers_with_wrong_papers() -> None:
    assert "not for 'other'" in certificate_trouble(demands=Demands(name="other", name_kind="name"))
    assert "not in ca" in certificate_trouble(identity=replace(client_settings().identity, ca=authority("another").pem))
    assert "not issued for a client" in certificate_trouble(demands=Demands(usage="client"))
    assert "fingerprint" in certificate_trouble(demands=Demands(fingerprints=frozenset([bytes(32)])))
    subject = Demands(name="C=DE, CN=server")
    World(client_settings(demands=subject)).until_connected()
    World(client_settings(demands=Demands(name="serv", name_kind="name-prefix"))).until_connected()


def test_an_expired_and_a_revoked_certificate_of_the_server() -> None:
    old = authority().identity("server", "server", start=EPOCH - 10 * 86_400, days=1)
    world = World(None, server_settings(identity=old))
    world.run(20.0, lambda: world.ended is not None)
    assert world.ended is not None
    assert world.ended.reason.endswith("it has expired")
    server = server_settings()
    crl = authority().revoke(server.identity.certificate)
    world = World(client_settings(identity=replace(client_settings().identity, crl=crl)), server)
    world.run(20.0, lambda: world.ended is not None)
    assert world.ended is not None
    assert "revoked" in world.ended.reason


def test_a_clock_of_1970() -> None:
    world = World(unix=0.0)
    world.run(20.0, lambda: world.ended is not None)
    assert world.ended is not None
    assert "is this machine's clock right?" in world.ended.reason


def test_a_server_that_is_up_for_long_sees_that_a_certificate_expires() -> None:
    identity = authority().identity("client", "client", days=2)
    world = World(client_settings(identity=identity, hand_window=10.0))
    world.until_connected()
    world.now += 5 * 86_400
    world.events.clear()
    world.connect(client_settings(identity=identity, hand_window=10.0))
    world.run(90.0, lambda: world.ended is not None)
    assert world.ended is not None
    assert not any(isinstance(each, Connected) for each in world.events)


def test_a_client_with_wrong_papers_is_not_let_in() -> None:
    stranger = authority("another").identity("client", "client")
    world = World(client_settings(identity=replace(stranger, ca=authority().pem), hand_window=10.0))
    world.run(90.0, lambda: world.ended is not None)
    assert world.ended is not None
    assert world.server.clients == []


def test_user_and_password_and_a_refusal() -> None:
    settings = client_settings(asks_user=True, username="me", password="secret")
    world = World(settings, knows=lambda caller: (caller.username, caller.password) == ("me", "secret"))
    world.until_connected()
    exchange(world, b"hello")
    world = World(settings.with_user("me", "wrong"), knows=lambda caller: caller.password == "secret")
    world.run(20.0, lambda: world.ended is not None)
    assert world.ended == Ended(
        "the server refuses the login: username, password or certificate", True, None, 1.0, True
    )


def test_a_token_takes_the_place_of_the_password_also_in_the_next_connection() -> None:
    """The password is good for one login, as one-time passwords are."""
    told: list[tuple[str, str]] = []

    def knows(caller: Caller) -> bool:
        told.append((caller.username, caller.password))
        return caller.password == "token-2" or (caller.password == "once" and len(told) == 1)

    part = ServerPart(network="10.8.0.0/24", pushed=("auth-token token-1", "auth-token-user Ym9i"))
    settings = client_settings(asks_user=True, username="me", password="once")
    world = World(settings, server_settings(server=part), knows=knows)
    world.until_connected()
    world.server.say("PUSH_REPLY,auth-token token-2", world.now)  # after a renegotiation
    world.drain()
    world.run(1.0)
    updated = world.events[-1]
    assert isinstance(updated, Updated)
    options = updated.options
    assert (options.auth_token, options.auth_token_user) == ("token-2", "bob")
    assert list(options.networks(4)) == list(world.connected.options.networks(4)), "all else stays as it was"
    assert "token-2" not in repr(options)
    world.events.clear()
    world.connect(settings.with_token(options.auth_token, options.auth_token_user))
    world.until_connected()
    assert told == [("me", "once"), ("bob", "token-2")]
    assert "token-2" not in repr(settings.with_token("token-2", "bob"))


def test_a_token_that_is_refused_lets_the_password_be_said_again() -> None:
    settings = client_settings(asks_user=True, username="me", password="secret").with_token("old", "")
    world = World(settings, knows=lambda caller: caller.password == "secret")
    world.run(20.0, lambda: world.ended is not None)
    assert world.ended is not None
    assert (world.ended.fatal, world.ended.refuses_token, world.ended.keeps_remote) == (False, True, True)


def test_flipped_bits_and_replays_change_nothing() -> None:
    world = World(client_settings(tls_crypt=KEY), server_settings(tls_crypt=KEY))
    rng = random.Random(5)

    def spoil(data: bytes, to_server: bool) -> bytes:
        changed = bytearray(data)
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        world.inject(bytes(changed), to_server, world.source)
        world.inject(data, to_server, world.source)
        return data

    world.spoil = spoil
    world.until_connected()
    for number in range(100):
        world.send(b"%d" % number)
        world.reply(b"%d" % number)
        world.run(0.1)
    assert [each[20:] for each in world.inside] == [b"%d" % number for number in range(100)]
    assert [each[20:] for each in world.outside] == [b"%d" % number for number in range(100)]
    assert world.client.dropped >= 200
    for data, to_server in list(world.carried):
        world.inject(data, to_server, world.source)
    world.run(5.0)
    assert len(world.inside) == len(world.outside) == 100
    exchange(world, b"after")


def test_a_flood_of_garbage_costs_a_transfer_nothing() -> None:
    world = World()
    world.until_connected()
    rng = random.Random(3)
    for number in range(300):
        for _ in range(20):
            garbage = bytearray(rng.randbytes(rng.randrange(0, 80)))
            if garbage:
                garbage[0] = rng.choice([3, 4, 5, 6, 7, 8, 9, 10, 11]) << 3 | rng.randrange(8)
            world.inject(bytes(garbage), rng.random() < 0.5, f"stranger:{rng.randrange(50)}")
        world.send(b"%d" % number)
        world.reply(b"%d" % number)
        world.run(0.05)
    world.run(1.0)
    assert len(world.inside) == len(world.outside) == 300
    assert world.ended is None


def test_a_thousand_handshakes_at_once_are_bounded() -> None:
    world = World(client_settings(), server_settings())
    for number in range(5000):
        reset = b"\x38" + number.to_bytes(8, "big") + bytes(5)
        world.inject(reset, True, f"stranger:{number}")
    world.run(1.0)
    assert world.server.handshakes <= 2048
    world.run(70.0, lambda: False)
    assert world.server.handshakes == 0, "who says no more is forgotten"


def test_a_thousand_idle_clients_fit_into_a_hundred_megabytes() -> None:
    """Measured with two hundred; the process without them is some 34 MB."""
    part = ServerPart(network="10.8.0.0/20", shares_names=True)
    world = World(None, server_settings(server=part, tunnel=TunnelOptions(ping_restart=100_000)))
    world.until_connected()
    before = resident_memory()
    for number in range(200):
        world.source, world.events = f"client:{number + 2}", []
        world.connect(client_settings())
        world.until_connected()
        world.run(0.2)
        world.carried.clear()
    assert len(world.server.clients) == 201
    assert (resident_memory() - before) / 200 * 1000 < 66_000_000


def test_a_key_that_was_replaced_keeps_no_tls_session() -> None:
    """40 KB of each client of a server, for as long as it stays."""
    world = World(client_settings(reneg=50.0), server_settings())
    world.until_connected()

    def sessions() -> int:
        gc.collect()
        return sum(isinstance(each, SSL.Connection) for each in gc.get_objects())

    before = sessions()
    for number in range(20):
        world.run(10.0)
        exchange(world, b"%d" % number)
    assert {data[0] & 7 for data, _ in world.carried if data[0] >> 3 == 9} >= {0, 1, 2}
    assert sessions() == before


def test_silence_is_noticed_and_a_restarted_server_taken_again() -> None:
    world = World(None, server_settings(tunnel=TunnelOptions(ping=5, ping_restart=20)))
    world.until_connected()
    world.run(100.0)
    assert world.ended is None, "pings keep it up"
    world.spoil = lambda data, to_server: None
    world.run(30.0, lambda: world.ended is not None)
    assert world.ended == Ended("nothing was heard for 20 s (ping-restart)", False)


def test_a_server_that_goes_says_so() -> None:
    world = World()
    world.until_connected()
    world.server.close(world.now)
    world.drain()
    world.run(5.0, lambda: world.ended is not None)
    assert world.ended is not None
    assert "restarts" in world.ended.reason
    assert not world.ended.fatal


def test_a_client_that_goes_says_so_and_its_address_is_free() -> None:
    world = World()
    world.until_connected()
    assert world.server.clients == ["client"]
    world.client.close(world.now)
    world.drain()
    world.run(5.0)
    assert world.server.clients == []


def test_the_client_may_move_to_another_address() -> None:
    world = World()
    world.until_connected()
    exchange(world, b"before")
    world.source = "client:2"
    world.client.reconnect_notice(world.now)
    world.drain()
    world.run(1.0)
    exchange(world, b"after")


def test_a_client_that_comes_again_takes_its_place() -> None:
    world = World()
    world.until_connected()
    first = world.address
    world.source = "client:9"
    world.events.clear()
    world.connect(client_settings())
    world.until_connected()
    assert world.address == first
    assert len(world.server.clients) == 1
    exchange(world, b"again")


def test_a_client_cannot_send_from_an_address_that_is_not_its_own() -> None:
    world = World()
    world.until_connected()
    for datagram in world.client.seal([packet(bytes([10, 8, 0, 77]), INSIDE, b"forged")], world.now):
        world.inject(datagram, True, world.source)
    world.run(1.0)
    assert world.inside == []
    assert world.server.dropped == 1


def test_many_pushed_options_come_in_several_messages() -> None:
    pushed = tuple(f"route 10.{number}.0.0 255.255.0.0" for number in range(100, 200))
    world = World(None, server_settings(server=ServerPart(network="10.8.0.0/24", pushed=pushed)))
    world.until_connected()
    assert len(world.connected.options.included) == 100


def test_what_servers_say_later() -> None:
    world = World()
    world.until_connected()
    for message in ("PUSH_UPDATE,route 10.99.0.0 255.255.0.0,-dhcp-option", "INFO,tea", "INFO_PRE,CR_TEXT:E,R:Token?"):
        world.server.say(message, world.now)
        world.drain()
        world.run(1.0)
    updated, said, asked = world.events[1:]
    assert isinstance(updated, Updated)
    assert [str(each) for each in updated.options.included] == ["10.99.0.0/16"]
    assert updated.options.dns == ()
    assert updated.options.redirect4
    assert said == Said("the server says: tea")
    assert isinstance(asked, Asked)
    assert (asked.challenge.text, asked.challenge.echo) == ("Token?", True)
    world.client.answer("123", world.now)


@pytest.mark.parametrize(
    ("pushed", "says"),
    [
        ("comp-lzo yes", "compression is refused"),
        ("compress lz4", "compression is refused"),
        ("cipher none", "is none of"),
        ("ifconfig 10.8.0.2", "expected 2 words"),
        ("route 300.1.1.1", "route"),
        ("client-nat snat 1 2 3", "refused"),
        ("protocol-flags teleport", "not known"),
        ("auth-token-user no/base-64", "no name in base64"),
    ],
)
def test_servers_that_push_nonsense(pushed: str, says: str) -> None:
    world = World(None, server_settings(server=ServerPart(network="10.8.0.0/24", pushed=(pushed,))))
    world.run(20.0, lambda: world.ended is not None)
    assert world.ended is not None
    assert says in world.ended.reason


@pytest.mark.parametrize(
    ("identity", "says"),
    [
        ({"certificate": "nonsense"}, "cert: no certificate"),
        ({"key": "nonsense"}, "key: no private key"),
        ({"ca": "nonsense"}, "ca: no certificate"),
        ({"crl": "nonsense"}, "crl-verify"),
        ({"ciphers": "NONSENSE"}, "tls-cipher"),
        ({"pkcs12": b"nonsense"}, "pkcs12"),
    ],
)
def test_identities_that_cannot_be_used(identity: dict[str, str], says: str) -> None:
    settings = client_settings()
    with pytest.raises(LocalError, match=says):
        World(replace(settings, identity=replace(settings.identity, **identity)))


def test_an_encrypted_key_needs_its_password() -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    settings = client_settings()
    plain = load_pem_private_key(settings.identity.key.encode(), None)
    locked = replace(settings.identity, key=key_pem(plain, "door"))  # type: ignore[arg-type]
    with pytest.raises(LocalError, match="askpass"):
        World(replace(settings, identity=locked))
    with pytest.raises(LocalError, match="wrong"):
        World(replace(settings, identity=locked).with_key_password("window"))
    World(replace(settings, identity=locked).with_key_password("door")).until_connected()


def test_both_need_each_other() -> None:
    world = World(
        OpenVPNSettings(
            name="x", remotes=client_settings().remotes, identity=Identity(ca=authority().pem), hand_window=9
        )
    )
    world.run(60.0, lambda: bool(world.events))
    assert not isinstance(world.events[0], Connected), "a server that demands certificates lets nobody in without"


def speak(world: World, seconds: int) -> None:
    for _ in range(seconds):
        world.send(b"hello")
        world.run(1.0)


@pytest.mark.parametrize("where", ["handle_timeout", "control_untrusted", "open_all_untrusted"])
def test_a_bug_in_one_clients_session_ends_that_client_only(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    world = World(client_settings(reneg=30.0))
    world.until_connected()
    assert world.server.clients == ["client"]
    lines: list[str] = []
    containment = Containment(CauseLog(lines.append, lambda: world.now), lambda: world.now)

    def fail(_self: ServerSession, *_arguments: object) -> object:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(ServerSession, where, fail)
        with pytest.raises(ZeroDivisionError) as caught:
            speak(world, 100)
        containment.caught(caught.value)
    assert lines[0].startswith("internal error in an OpenVPN client: ZeroDivisionError at ")
    for _ in range(80):
        world.now += 1.0
        if (world.server.next_timeout() or world.now) <= world.now:
            world.server.handle_timeout(world.now)
    assert world.server.clients == []
    world.events.clear()
    world.connect(client_settings())
    world.until_connected()
    exchange(world, b"hello again")
