"""Any bytes as one of Apple's configuration profiles: keys of a profile, or one line that says why there are none."""

from __future__ import annotations

import plistlib

from tunflow.errors import BadPacket
from tunflow.profiles.imports.mobileconfig import MobileConfig
from tunflow.profiles.imports.plist_file import looks_like_mobileconfig

_VPN = {
    "PayloadType": "com.apple.vpn.managed", "VPNType": "IKEv2", "UserDefinedName": "v", "PayloadUUID": "A",
    "IKEv2": {"RemoteAddress": "h", "RemoteIdentifier": "h", "LocalIdentifier": "u", "AuthenticationMethod": "None",
              "ExtendedAuthEnabled": 1, "AuthName": "u", "AuthPassword": "p", "IncludeAllNetworks": 1,
              "IKESecurityAssociationParameters": {"EncryptionAlgorithm": "AES-256", "DiffieHellmanGroup": 14},
              "OnDemandEnabled": 1, "OnDemandRules": [{"Action": "Connect", "SSIDMatch": ["s"]}]},
}  # fmt: skip
_NAMES = {"PayloadType": "com.apple.dnsSettings.managed",
          "DNSSettings": {"DNSProtocol": "TLS", "ServerName": "n", "ServerAddresses": ["192.0.2.1"]}}  # fmt: skip
_FILTER = {"PayloadType": "com.apple.webcontent-filter", "FilterType": "BuiltIn", "DenyListURLs": ["http://x/y"],
           "AllowListBookmarks": [{"URL": "http://z", "Title": "z"}]}  # fmt: skip
_PROXY = {"PayloadType": "com.apple.proxy.http.global", "ProxyServer": "p", "ProxyServerPort": 1, "ProxyUsername": "u"}
_IDENTITY = {
    "PayloadType": "com.apple.security.pkcs12",
    "PayloadUUID": "B",
    "PayloadContent": b"0\x00",
    "Password": "p",
}
_ROOT = {"PayloadType": "com.apple.security.root", "PayloadUUID": "C", "PayloadContent": b"0\x00"}
_BY_CERTIFICATE = _VPN | {"IKEv2": {"RemoteAddress": "h", "AuthenticationMethod": "Certificate",
                                    "PayloadCertificateUUID": "B"}}  # fmt: skip


def _file(*payloads: object, binary: bool = False) -> bytes:
    content = {"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadContent": list(payloads)}
    return plistlib.dumps(content, fmt=plistlib.FMT_BINARY if binary else plistlib.FMT_XML)


SEEDS = [_file(_VPN, _NAMES, _FILTER), _file(_PROXY, binary=True), _file(_BY_CERTIFICATE, _IDENTITY, _ROOT)]


def one_line(text: str) -> None:
    """What is said must fit on a terminal's line."""
    assert "\n" not in text, text


def one_input(data: bytes) -> None:
    """Read it, whether it looks like one or not."""
    looks_like_mobileconfig(data)
    config = MobileConfig("the file")
    try:
        config.read(data)
    except BadPacket as error:
        one_line(str(error))
    for each in config.told:
        one_line(each.reason)
