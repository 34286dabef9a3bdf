"""IKEv2 servers of Apple's configuration profiles, in and out, and both held against Apple's published schema."""

from __future__ import annotations

import json
import plistlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12

from tunflow.errors import LocalError
from tunflow.profiles.file import parse
from tunflow.profiles.imports.importer import Imported, ImportSource, import_profile
from tunflow.profiles.imports.mobileconfig_keys import DESCRIBING, KEYS
from tunflow.profiles.mobileconfig_export import mobileconfig
from tunflow.providers.ikev2 import load_messages, server_of

SCHEMA: dict[str, dict[str, list[Any]]] = json.loads((Path(__file__).parent / "apple_schema.json").read_text())
"""Of each payload its keys (with dots below dictionaries, `[]` in arrays): type, presence and the values allowed."""
TYPES: dict[str, type] = {
    "<string>": str, "<integer>": int, "<boolean>": bool, "<array>": list, "<dictionary>": dict, "<data>": bytes
}  # fmt: skip
BASE = {"RemoteAddress": "vpn.example", "RemoteIdentifier": "vpn.example", "LocalIdentifier": "maria"}
EAP = {"AuthenticationMethod": "None", "ExtendedAuthEnabled": 1, "AuthName": "maria", "AuthPassword": "p:@ss"}


def taken(settings: dict[str, Any], *payloads: dict[str, Any], **more: Any) -> Imported:
    vpn = {"PayloadType": "com.apple.vpn.managed", "VPNType": "IKEv2", "UserDefinedName": "x", "IKEv2": settings}
    content = {"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadContent": [vpn | more, *payloads]}
    return import_profile(ImportSource(plistlib.dumps(content), "school.mobileconfig", "school"))


def link(made: Imported) -> str:
    assert made.lost == []
    assert made.profile.provider == "ikev2"
    return str(made.profile.provider_configuration["link"])


def issued(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key())
    builder = (
        builder.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    )
    return key, builder.sign(key, hashes.SHA256())


def test_user_and_password_with_the_files_ca() -> None:
    _, authority = issued("school's CA")
    root = {"PayloadType": "com.apple.security.root", "PayloadContent": authority.public_bytes(Encoding.DER)}
    made = taken(
        BASE | EAP | {"IncludeAllNetworks": 1, "OnDemandEnabled": 1, "OnDemandRules": [{"Action": "Connect"}]}, root
    )
    server = server_of({"link": link(made)})
    assert (server.method, server.user, server.password, server.remote_id) == ("eap", "maria", "p:@ss", "vpn.example")
    commands = [command for command, _ in load_messages(server)]
    assert commands == ["load-cert", "load-shared", "load-conn"]
    assert made.profile.tunnel.kill_switch
    assert [rule.action for rule in made.profile.on_demand.rules] == ["connect"]


def test_a_secret_and_algorithms() -> None:
    algorithms = {"EncryptionAlgorithm": "AES-256-GCM", "IntegrityAlgorithm": "SHA2-384", "DiffieHellmanGroup": 20}
    settings = {"AuthenticationMethod": "SharedSecret", "SharedSecret": "s3cret", "EnablePFS": 1,
                "IKESecurityAssociationParameters": algorithms, "ChildSecurityAssociationParameters": {}}  # fmt: skip
    server = server_of({"link": link(taken(BASE | settings))})
    assert (server.method, server.user, server.password) == ("psk", "maria", "s3cret")
    assert (server.ike, server.esp) == ("aes256gcm16-prfsha384-ecp384", "aes256-sha256-modp2048")


def test_a_certificate_of_the_same_file() -> None:
    key, certificate = issued("maria")
    sealed = pkcs12.serialize_key_and_certificates(b"maria", key, certificate, None, BestAvailableEncryption(b"opens"))
    settings = {"AuthenticationMethod": "Certificate", "PayloadCertificateUUID": "A1"}
    identity = {"PayloadType": "com.apple.security.pkcs12", "PayloadUUID": "A1", "PayloadContent": sealed}
    server = server_of({"link": link(taken(BASE | settings, identity | {"Password": "opens"}))})
    assert server.method == "certificate"
    assert "PRIVATE" not in repr(server)
    messages = dict(load_messages(server.__class__(**{name: getattr(server, name) for name in server.__slots__})))
    assert "BEGIN PRIVATE KEY" in str(messages["load-key"]["data"])
    for wrong, said in (({"Password": "no"}, "does not open"), ({}, "not in this file")):
        assert said in taken(BASE | settings, identity | wrong).lost[0].reason
    assert "names no PKCS #12" in taken(BASE | settings).lost[0].reason


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"AuthenticationMethod": "Certificate", "ExtendedAuthEnabled": 1}, "Certificate with ExtendedAuthEnabled"),
        ({"AuthenticationMethod": "None"}, "None without ExtendedAuthEnabled"),
        ({"AuthenticationMethod": "SharedSecret"}, "SharedSecret"),
        (EAP | {"RemoteAddress": ""}, "RemoteAddress"),
        (EAP | {"RemoteAddress": "not a host/#?"}, "ikev2"),
        (EAP | {"IKESecurityAssociationParameters": {"EncryptionAlgorithm": "DES"}}, "DES"),
        (EAP | {"ChildSecurityAssociationParameters": {"DiffieHellmanGroup": [1]}}, "group [1]"),
        (EAP | {"PPK": b"x"}, "IKEv2.PPK"),
        (EAP | {"Surprise": 1}, "IKEv2.Surprise is not understood"),
        (EAP | {"UseConfigurationAttributeInternalIPSubnet": 1}, "routes that the server tells"),
    ],
)
def test_what_is_lost_is_said(settings: dict[str, Any], reason: str) -> None:
    assert any(reason in each.reason for each in taken(BASE | settings).lost)


def test_a_switch_that_is_off_says_nothing() -> None:
    assert taken(BASE | EAP | {"UseConfigurationAttributeInternalIPSubnet": 0}).lost == []


@pytest.mark.parametrize("payload", sorted(SCHEMA))
def test_every_key_of_the_schema_is_known(payload: str) -> None:
    if payload not in KEYS:
        return
    known = KEYS[payload]
    parents = {key.rpartition(".")[0] for key in known if "." in key}
    wanted = {key for key in SCHEMA[payload] if "." not in key or key.rpartition(".")[0] in parents}
    wanted = {key for key in wanted if not key.startswith("DNS.")}
    assert wanted - set(known) - DESCRIBING == set()


def check(payload: dict[str, Any], schema: dict[str, list[Any]], above: str = "") -> None:
    """A payload against the schema."""
    for key, (_, presence, _) in schema.items():
        if presence == "required" and key.rpartition(".")[0] == above.rstrip("."):
            assert key.rpartition(".")[2] in payload, key
    for key, value in payload.items():
        name = f"{above}{key}"
        if not above and key in DESCRIBING:
            continue
        kind, _, allowed = schema[name]
        assert isinstance(value, TYPES[kind]), name
        assert not allowed or value in allowed, name
        if isinstance(value, dict):
            check(value, schema, f"{name}.")


@pytest.mark.parametrize(
    "server",
    [
        "ikev2://maria:p%40ss@vpn.example?remote_id=vpn&ike=aes256-sha256-modp2048&esp=aes256gcm16-ecp256",
        "ikev2://maria:s3cret@vpn.example?auth=psk",
    ],
)
def test_export_is_what_apple_publishes_and_comes_back(server: str) -> None:
    profile = parse(
        f'server = "{server}"\n[tunnel]\nkill_switch = true\n[dns]\nservers = ["https://d.example@192.0.2.53/q"]\n'
        '[on_demand]\nenabled = true\nrules = [{ action = "disconnect", ssid = ["Home"] }, { action = "connect" }]\n'
        '[filter]\nlists = [{ name = "bad", lines = ["||bad.example^"] }]\n',
        "home.toml",
        "home",
    )
    content, left = mobileconfig(profile)
    assert left == []
    payloads = plistlib.loads(content)["PayloadContent"]
    assert [each["PayloadType"].rpartition(".")[2] for each in payloads] == ["managed", "managed", "webcontent-filter"]
    for payload in payloads:
        check(payload, SCHEMA[payload["PayloadType"]])
    again = import_profile(ImportSource(content, "home.mobileconfig", "home"))
    before, after = profile.server[0].server, server_of(again.profile.provider_configuration)
    for name in ("host", "user", "password", "method", "ike", "esp"):
        assert getattr(after, name) == getattr(before, name), name
    assert again.profile.tunnel.kill_switch


def test_the_ca_of_a_link_goes_with_it() -> None:
    _, authority = issued("school's CA")
    root = {"PayloadType": "com.apple.security.root", "PayloadContent": authority.public_bytes(Encoding.DER)}
    content, left = mobileconfig(taken(BASE | EAP, root).profile)
    ca, _ = plistlib.loads(content)["PayloadContent"]
    assert (ca["PayloadContent"], left) == (root["PayloadContent"], [])
    check(ca, SCHEMA["com.apple.security.root"])


def test_what_a_device_cannot_do_is_said() -> None:
    for url, said in (
        ("ikev2://vpn.example?certificate=a&key=b", "a certificate of ours"),
        ("ikev2://maria:x@vpn.example:4500", "another port"),
        ("ikev2://maria:x@vpn.example?ike=aes256-sha256-modp2048,aes128-sha1-modp1024", "does not know"),
        ("ikev2://maria:x@vpn.example?ca=/etc/ca.pem", ""),
    ):
        profile = parse(f'server = "{url}"\n', "home.toml", "home")
        if said:
            with pytest.raises(LocalError):
                mobileconfig(profile)
        else:
            assert "put it on the device" in mobileconfig(profile)[1][0]


def test_base64_that_is_none() -> None:
    with pytest.raises(LocalError, match="no base64"):
        load_messages(server_of({"link": "ikev2://a:b@vpn.example?ca=base64:%%%"}))


def test_a_profile_has_the_fields_of_the_manual() -> None:
    """docs/ikev2.md has this table."""
    fields = '[servers.office]\ntype = "ikev2"\nhost = "vpn.example"\nuser = "maria"\npassword = "PASSWORD"\n'
    profile = parse(f'{fields}method = "eap"\nremote_id = "gate.example"', "p.toml")
    (link,) = profile.servers["office"].links
    assert link.text == "ikev2://maria:PASSWORD@vpn.example:500?auth=eap&remote_id=gate.example"
    with pytest.raises(LocalError, match=r"p\.toml:.*metod.*method"):
        parse(f'{fields}metod = "eap"', "p.toml")
