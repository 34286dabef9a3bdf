"""Apple's configuration profiles: what a tunnel can do of them is done, and nothing is lost in silence."""

from __future__ import annotations

import plistlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.cli import main
from tunflow.errors import BadPacket, LocalError
from tunflow.profiles.file import parse
from tunflow.profiles.imports.importer import Imported, ImportSource, import_profile
from tunflow.profiles.imports.mobileconfig import state_of
from tunflow.profiles.imports.plist_file import looks_like_mobileconfig, plist_file_untrusted
from tunflow.profiles.mobileconfig_export import mobileconfig
from tunflow.tunnel.compile import compile_profile

ROOT = Path(__file__).parents[2]
WG = (
    "[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\nAddress = 10.0.0.2/32\n"
    "[Peer]\nPublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\nAllowedIPs = 0.0.0.0/0\n"
    "Endpoint = 192.0.2.1:51820\n"
)
RULES = [
    {"Action": "Disconnect", "SSIDMatch": ["Home"], "InterfaceTypeMatch": "WiFi"},
    {
        "Action": "EvaluateConnection",
        "DNSDomainMatch": ["school.example"],
        "ActionParameters": [
            {"Domains": ["intra.example"], "DomainAction": "ConnectIfNeeded", "RequiredDNSServers": ["10.0.0.53"]}
        ],
    },
    {"Action": "Connect"},
]


def config(*payloads: dict[str, Any], **more: Any) -> bytes:
    return plistlib.dumps(
        {"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadContent": list(payloads), **more}
    )


def vpn(**more: Any) -> dict[str, Any]:
    return {
        "PayloadType": "com.apple.vpn.managed", "VPNType": "VPN", "VPNSubType": "com.wireguard.ios",
        "VendorConfig": {"WgQuickConfig": WG}, **more,
    }  # fmt: skip


def taken(content: bytes) -> Imported:
    return import_profile(ImportSource(content, "school.mobileconfig", "school"))


def lost(content: bytes) -> list[str]:
    return [each.reason for each in taken(content).lost]


def test_a_vpn_on_demand() -> None:
    made = taken(config(vpn(VPN={"OnDemandEnabled": 1, "OnDemandRules": RULES, "IncludeAllNetworks": True})))
    profile = made.profile
    assert made.lost == []
    assert profile.provider is not None
    assert "192.0.2.1:51820" in str(profile.provider_configuration)
    assert profile.tunnel.kill_switch
    assert [rule.action for rule in profile.on_demand.rules] == ["disconnect", "evaluate-connection", "connect"]
    assert profile.on_demand.rules[0].ssid == ("Home",)
    assert profile.on_demand.rules[1].connections[0].dns_servers == ("10.0.0.53",)
    compile_profile(profile)


def test_numbers_are_switches() -> None:
    """Apple's schema has 0 and 1 where others write true and false."""
    tunnel = taken(config(vpn(VPN={"IncludeAllNetworks": 1, "ExcludeLocalNetworks": 0}))).profile.tunnel
    assert (tunnel.kill_switch, tunnel.exclude_lan) == (True, False)


def test_names_by_https_and_tls() -> None:
    https = {
        "DNSProtocol": "HTTPS",
        "ServerAddresses": ["192.0.2.53", "2001:db8::53"],
        "ServerURL": "https://d.example/q",
    }
    profile = taken(config({"PayloadType": "com.apple.dnsSettings.managed", "DNSSettings": https})).profile
    assert profile.dns.servers == ("https://d.example@192.0.2.53/q", "https://d.example@[2001:db8::53]/q")
    assert [each.text for each in profile.server] == ["direct://"]
    compile_profile(profile)
    tls = {"DNSProtocol": "TLS", "ServerName": "d.example", "ServerAddresses": ["192.0.2.53"],
           "SupplementalMatchDomains": ["school.example"]}  # fmt: skip
    profile = taken(config({"PayloadType": "com.apple.dnsSettings.managed", "DNSSettings": tls})).profile
    assert (profile.dns.servers, profile.dns.match_domains) == (("tls://d.example@192.0.2.53",), ("school.example",))


def test_a_filter_and_a_proxy() -> None:
    made = taken(
        config(
            {
                "PayloadType": "com.apple.webcontent-filter", "FilterType": "BuiltIn", "FilterBrowsers": True,
                "DenyListURLs": ["http://bad.example", "https://news.example/games"], "PermittedURLs": ["good.example"],
            },
            {"PayloadType": "com.apple.proxy.http.global", "ProxyServer": "proxy.example", "ProxyServerPort": 3128,
             "ProxyUsername": "me", "ProxyPassword": "p@ss"},
        )
    )  # fmt: skip
    assert made.profile.filter is not None
    lists = {each.name: (each.action, each.lines) for each in made.profile.filter.lists}
    assert lists["denied"] == ("block", ("||bad.example^", "||news.example/games"))
    assert lists["allowed"] == ("allow", ("||good.example^",))
    assert made.profile.server[0].text == "http://me:p%40ss@proxy.example:3128"
    assert made.lost == []
    assert any("all programs are filtered" in each.reason for each in made.told)


WEB = {"PayloadType": "com.apple.webcontent-filter", "FilterType": "BuiltIn"}


def resolver(**settings: Any) -> dict[str, Any]:
    return {"PayloadType": "com.apple.dnsSettings.managed", "DNSSettings": settings}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"PayloadType": "com.apple.vpn.managed", "VPNType": "IKEv2", "IKEv2": {}}, "RemoteAddress names no server"),
        ({"PayloadType": "com.apple.vpn.managed", "VPNType": "IPSec", "IPSec": {}}, "VPNType IPSec"),
        (vpn(VPNSubType="com.cisco.anyconnect"), "VPNSubType com.cisco.anyconnect is not carried"),
        (vpn(VendorConfig={"WgQuickConfig": "[Interface]\nnonsense\n"}), "WgQuickConfig"),
        (vpn(Surprise=1), "Surprise is not understood"),
        (vpn(VPN={"OnDemandEnabled": 1, "OnDemandRules": [{"Action": "Dance"}]}), "rule 1: Action Dance"),
        (vpn(VPN={"OnDemandEnabled": 1, "OnDemandRules": [{"Action": "Connect", "X": 1}]}), "rule 1: X is not known"),
        ({"PayloadType": "com.apple.webcontent-filter", "FilterType": "Plugin"}, "FilterType Plugin"),
        ({"PayloadType": "com.apple.proxy.http.global", "ProxyType": "Auto", "ProxyPACURL": "http://x/"}, "PAC"),
        ({"PayloadType": "com.apple.dnsSettings.managed", "DNSSettings": {"DNSProtocol": "HTTPS"}}, "ServerURL"),
        # What would count as if it were not there: the kill switch, a filter's list, a resolver.
        (vpn(VPN={"IncludeAllNetworks": "1"}), "VPN.IncludeAllNetworks is not a switch"),
        (vpn(VPN={"IncludeAllNetworks": 2}), "VPN.IncludeAllNetworks is not a switch"),
        (vpn(VPN={"OnDemandEnabled": 1, "OnDemandRules": {"Action": "Connect"}}), "OnDemandRules is not a list"),
        (vpn(VPN=[{"IncludeAllNetworks": 1}]), "VPN is not a dictionary"),
        ({**WEB, "DenyListURLs": "http://bad.example"}, "DenyListURLs is not a list of texts"),
        ({**WEB, "DenyListURLs": ["http://bad.example", 1]}, "DenyListURLs is not a list of texts"),
        ({**WEB, "DenyListURLs": ["http://bad.example:x"]}, "the URL 'http://bad.example:x' of a filter"),
        ({**WEB, "DenyListURLs": ["bad.example"] * 5001}, "a list of 5001 URLs"),
        ({**WEB, "AllowListBookmarks": ["http://good.example"]}, "AllowListBookmarks is not a list of dictionaries"),
        (resolver(ServerAddresses=["192.0.2.1", "192.0.2.x"]), "'192.0.2.x' is no address"),
        (resolver(ServerAddresses="192.0.2.1"), "DNSSettings.ServerAddresses is not a list of texts"),
        (resolver(ServerAddresses=["192.0.2.1"], SupplementalMatchDomains="a.example"), "SupplementalMatchDomains"),
        ("no payload", "it is no dictionary"),
    ],
)
def test_what_is_lost_is_said(payload: dict[str, Any], reason: str) -> None:
    assert any(reason in each for each in lost(config(payload)))


def test_two_tunnels_are_no_profile() -> None:
    proxy = {"PayloadType": "com.apple.proxy.http.global", "ProxyServer": "proxy.example", "ProxyServerPort": 3128}
    assert lost(config(vpn(), vpn())) == ["a second VPN: a profile is one tunnel"]
    assert lost(config(vpn(), proxy)) == ["a proxy beside a VPN: a profile is one tunnel"]


def test_what_is_no_business_of_a_tunnel_is_told() -> None:
    made = taken(config(vpn(), {"PayloadType": "com.apple.wifi.managed", "SSID_STR": "School", "Password": "secret"},
                        {"PayloadType": "com.apple.applicationaccess"}))  # fmt: skip
    assert made.lost == []
    assert any("com.apple.applicationaccess" in each.reason for each in made.told)
    assert not any("secret" in each.reason for each in made.told)


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    b"<plist><dict><key>PayloadType</key><string>&b;</string></dict></plist>"
)


@pytest.mark.parametrize(
    "content",
    [
        BOMB,
        b"<?xml version='1.0'?><plist><dict><key>PayloadType</key>",
        b"bplist00PayloadType",
        config(vpn())[:200] + b"PayloadType",
        plistlib.dumps({"PayloadType": "Configuration", "PayloadContent": {"x": 1}}),
        plistlib.dumps(["PayloadType"]),
        config(*([{"PayloadType": "x"}] * 201)),
        b"<?xml version='1.0'?><plist>" + b"<array>" * 100_000 + b"PayloadType",
        config(vpn()) + b" " * (5 << 20),
    ],
)
def test_a_file_that_is_none_is_one_line(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.mobileconfig"
    path.write_bytes(content)
    assert main(["profile", "import", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    assert "bad.mobileconfig" in said


def test_a_signed_one(tmp_path: Path) -> None:
    """By openssl, as schools do it."""
    plain, signed = tmp_path / "plain", tmp_path / "signed"
    plain.write_bytes(config(vpn()))
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run([*make, "-subj", "/CN=school", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    sign = ["openssl", "cms", "-sign", "-nodetach", "-binary", "-outform", "DER", "-signer", certificate, "-inkey", key]
    subprocess.run([*sign, "-in", plain, "-out", signed], check=True, capture_output=True)
    content = signed.read_bytes()
    assert looks_like_mobileconfig(content)
    assert plist_file_untrusted(content).content == plistlib.loads(plain.read_bytes())
    made = taken(content)
    assert made.profile == taken(plain.read_bytes()).profile
    assert any("'school', whom none of" in each.reason and not each.is_lost for each in made.told)
    trusted = {"SSL_CERT_FILE": str(certificate)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", trusted["SSL_CERT_FILE"])
        assert any("'school', whom this machine's CAs know" in each.reason for each in taken(content).told)
        patch.setenv("PATH", "/nowhere")
        assert any("without the program openssl" in each.reason for each in taken(content).told)
    changed = content.replace(b"192.0.2.1:51820", b"192.0.2.2:51820")
    assert changed != content
    with pytest.raises(LocalError, match="its signature is wrong"):
        taken(changed)
    for cut in (30, 60, len(content) // 2):
        with pytest.raises(BadPacket):
            plist_file_untrusted(content[:cut])


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    for content in (data, bytes.fromhex("308206092a864886f70d010702") + data, b"bplist00" + data):
        try:
            plist_file_untrusted(content)
        except BadPacket:
            continue


def test_export_and_back() -> None:
    profile = parse(
        'server = "direct://"\n[dns]\nservers = ["https://d.example@192.0.2.53/q", "udp://192.0.2.54"]\n'
        '[on_demand]\nenabled = true\nrules = [{ action = "disconnect", ssid = ["Home"] }, { action = "connect" }]\n'
        '[filter]\nlists = [{ name = "bad", lines = ["||bad.example^", "/ads/"] }]\n',
        "home.toml",
        "home",
    )
    content, left = mobileconfig(profile)
    data = plistlib.loads(content)
    names, filters = data["PayloadContent"]
    assert names["DNSSettings"] == {
        "DNSProtocol": "HTTPS", "ServerURL": "https://d.example/q", "ServerAddresses": ["192.0.2.53"]
    }  # fmt: skip
    assert names["OnDemandRules"] == [{"Action": "Disconnect", "SSIDMatch": ["Home"]}, {"Action": "Connect"}]
    assert filters["DenyListURLs"] == ["https://bad.example"]
    assert [line.partition(":")[0] for line in left] == ["dns.servers", "filter.lists", "servers"]
    assert content == mobileconfig(profile)[0]
    again = taken(content)
    assert again.profile.dns.servers == ("https://d.example@192.0.2.53/q",)
    with pytest.raises(LocalError, match="nothing in it is for an iPhone"):
        mobileconfig(parse('server = "direct://"\n', "x.toml", "x"))


def test_the_documented_keys() -> None:
    """docs/mobileconfig.md is what the importer does."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from make_mobileconfig_table import PAGE, page
    finally:
        sys.path.pop(0)
    assert page(PAGE.read_text()) == PAGE.read_text(), "python scripts/make_mobileconfig_table.py"
    assert state_of("com.apple.vpn.managed", "IPSec") == "refused"
    assert state_of("com.apple.vpn.managed", "PayloadUUID") == "done"
