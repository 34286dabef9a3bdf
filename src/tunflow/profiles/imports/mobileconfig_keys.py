"""What becomes of each key of a configuration profile: done, told (it changes nothing here), or refused. Data only."""

from __future__ import annotations

DONE, TOLD, REFUSED = "done", "told", "refused"
WIREGUARD = ("com.wireguard.ios", "com.wireguard.macos")
OPENVPN = ("net.openvpn.connect.app", "net.openvpn.OpenVPN-Connect.vpnplugin")

DESCRIBING = frozenset({
    "PayloadType", "PayloadVersion", "PayloadIdentifier", "PayloadUUID", "PayloadDisplayName", "PayloadDescription",
    "PayloadOrganization", "PayloadEnabled", "PayloadScope",
})  # fmt: skip
"""Of every payload: for people and for the device's bookkeeping."""

SWITCHES = frozenset({
    "OnDemandEnabled", "IncludeAllNetworks", "ExcludeLocalNetworks", "ExtendedAuthEnabled", "EnablePFS",
    "ProxyCaptiveLoginAllowed",
})  # fmt: skip
LISTS = frozenset({
    "OnDemandRules", "ServerAddresses", "SupplementalMatchDomains", "DenyListURLs", "BlacklistedURLs", "PermittedURLs",
    "AllowListBookmarks", "WhitelistedBookmarks",
})  # fmt: skip
TABLES = frozenset({
    "VPN", "IKEv2", "VendorConfig", "DNSSettings", "IKESecurityAssociationParameters",
    "ChildSecurityAssociationParameters",
})  # fmt: skip
DICTIONARIES = frozenset({"OnDemandRules", "AllowListBookmarks", "WhitelistedBookmarks"})
"""Lists of those; the others are lists of texts."""
NUMBERS = frozenset({"ProxyServerPort"})

_DEVICE = "a device's own restriction"
_IPSEC = "IKEv1 is not spoken"
_OFF = "tunflow does not"
_ALL = "programs on this machine have none of that"
_OTHER = "another program's"
_APPS = "tunflow names programs, not bundles: use apps in the profile"

_CARRIED: dict[str, tuple[str, str]] = {
    "OnDemandEnabled": (DONE, "[on_demand]"),
    "OnDemandRules": (DONE, "[on_demand]"),
    "IncludeAllNetworks": (DONE, "the kill switch"),
    "ExcludeLocalNetworks": (DONE, "exclude_lan"),
    "OnDemandUserOverrideDisabled": (TOLD, _DEVICE),
    "EnforceRoutes": (TOLD, "the tunnel's routes always count"),
    "ExcludeCellularServices": (TOLD, _ALL),
    "ExcludeAPNs": (TOLD, _ALL),
    "ExcludeDeviceCommunication": (TOLD, _ALL),
    "DisconnectOnIdle": (TOLD, "a tunnel stays until [on_demand] ends it"),
    "DisconnectOnIdleTimer": (TOLD, "a tunnel stays until [on_demand] ends it"),
    "ProviderType": (TOLD, "packets go through it"),
}
"""Of VPN and of IKEv2."""

_VPN: dict[str, tuple[str, str]] = {
    "VPNType": (DONE, "VPN and IKEv2; IPSec, L2TP, PPTP, AlwaysOn and TransparentProxy are refused"),
    "VPNSubType": (DONE, "WireGuard's and OpenVPN Connect's"),
    "VPN": (DONE, "a VPN of another program"),
    **{f"VPN.{key}": state for key, state in _CARRIED.items()},
    "VPN.RemoteAddress": (TOLD, "the other program's configuration says it"),
    "VPN.AuthName": (TOLD, "the other program's configuration says it"),
    "VPN.AuthenticationMethod": (TOLD, "the other program's configuration says it"),
    "VPN.Password": (TOLD, "the other program's configuration says it"),
    "VPN.PayloadCertificateUUID": (TOLD, "the other program's configuration says it"),
    "VPN.ProviderBundleIdentifier": (TOLD, "VPNSubType says whose it is"),
    "VPN.ProviderDesignatedRequirement": (TOLD, "VPNSubType says whose it is"),
    "VPN.OnDemandMatchDomainsAlways": (REFUSED, "OnDemandRules took its place"),
    "VPN.OnDemandMatchDomainsNever": (REFUSED, "OnDemandRules took its place"),
    "VPN.OnDemandMatchDomainsOnRetry": (REFUSED, "OnDemandRules took its place"),
    "VendorConfig": (DONE, "the other program's configuration"),
    "UserDefinedName": (DONE, "a name for people"),
    "IPv4": (TOLD, "the whole of IPv4 goes through the tunnel"),
    "Proxies": (REFUSED, "proxies inside of the VPN are not set"),
    "DNS": (REFUSED, "name servers inside of the VPN: say them in [dns]"),
    "IKEv2": (DONE, "an ikev2:// server (docs/ikev2.md)"),
    **{f"IKEv2.{key}": state for key, state in _CARRIED.items()},
    "IKEv2.RemoteAddress": (DONE, "the server"),
    "IKEv2.RemoteIdentifier": (DONE, "remote_id"),
    "IKEv2.LocalIdentifier": (DONE, "local_id"),
    "IKEv2.AuthenticationMethod": (DONE, "SharedSecret, Certificate, or None with ExtendedAuthEnabled (EAP)"),
    "IKEv2.SharedSecret": (DONE, "the secret"),
    "IKEv2.ExtendedAuthEnabled": (DONE, "EAP-MSCHAPv2; EAP-TLS is refused"),
    "IKEv2.AuthName": (DONE, "the user; asked for where it is missing"),
    "IKEv2.AuthPassword": (DONE, "the password; asked for where it is missing"),
    "IKEv2.PayloadCertificateUUID": (DONE, "a PKCS #12 of the same file, with its Password"),
    "IKEv2.IKESecurityAssociationParameters": (
        DONE,
        "ike: EncryptionAlgorithm, IntegrityAlgorithm, DiffieHellmanGroup",
    ),
    "IKEv2.ChildSecurityAssociationParameters": (DONE, "esp, in the same words"),
    "IKEv2.EnablePFS": (DONE, "a group in esp"),
    "IKEv2.CertificateType": (TOLD, "the certificate says it"),
    "IKEv2.ServerCertificateIssuerCommonName": (TOLD, "the CAs of the file are trusted, and no others"),
    "IKEv2.ServerCertificateCommonName": (TOLD, "the certificate must be for RemoteIdentifier"),
    "IKEv2.EnableCertificateRevocationCheck": (TOLD, "charon looks, and goes on where nobody answers"),
    "IKEv2.DeadPeerDetectionRate": (TOLD, "every 30 seconds"),
    "IKEv2.DisableMOBIKE": (TOLD, _OFF),
    "IKEv2.DisableRedirect": (TOLD, _OFF),
    "IKEv2.EnableFallback": (TOLD, _OFF),
    "IKEv2.NATKeepAliveInterval": (TOLD, "every 20 seconds"),
    "IKEv2.NATKeepAliveOffloadEnable": (TOLD, _ALL),
    "IKEv2.MTU": (TOLD, "1400"),
    "IKEv2.TLSMinimumVersion": (TOLD, "of EAP-TLS"),
    "IKEv2.TLSMaximumVersion": (TOLD, "of EAP-TLS"),
    "IKEv2.UseConfigurationAttributeInternalIPSubnet": (REFUSED, "routes that the server tells are not taken"),
    "IKEv2.Password": (REFUSED, _OTHER),
    "IKEv2.ProviderBundleIdentifier": (REFUSED, _OTHER),
    "IKEv2.ProviderDesignatedRequirement": (REFUSED, _OTHER),
    "IKEv2.PPK": (REFUSED, "no keys beside (RFC 8784)"),
    "IKEv2.PPKIdentifier": (REFUSED, "no keys beside (RFC 8784)"),
    "IKEv2.PPKMandatory": (TOLD, "no keys beside (RFC 8784)"),
    "IPSec": (REFUSED, _IPSEC),
    "PPP": (REFUSED, "L2TP and PPTP are not carried"),
    "AlwaysOn": (REFUSED, "a device that is watched over: kill_switch in [tunnel], and service install"),
    "TransparentProxy": (REFUSED, "the proxy of another program is not here"),
}

KEYS: dict[str, dict[str, tuple[str, str]]] = {
    "com.apple.vpn.managed": _VPN,
    "com.apple.vpn.managed.applayer": {
        **_VPN,
        "VPNUUID": (TOLD, _APPS),
        "CellularSliceUUID": (TOLD, _ALL),
        "SafariDomains": (REFUSED, _APPS),
        "MailDomains": (REFUSED, _APPS),
        "CalendarDomains": (REFUSED, _APPS),
        "ContactsDomains": (REFUSED, _APPS),
        "AssociatedDomains": (REFUSED, _APPS),
        "ExcludedDomains": (REFUSED, _APPS),
        "OnDemandMatchAppEnabled": (REFUSED, _APPS),
        "SMBDomains": (REFUSED, _APPS),
    },
    "com.apple.vpn.managed.appmapping": {"AppLayerVPNMapping": (REFUSED, _APPS)},
    "com.apple.dnsSettings.managed": {
        "DNSSettings": (DONE, "[dns]"),
        "DNSSettings.DNSProtocol": (DONE, "HTTPS, TLS, Cleartext"),
        "DNSSettings.ServerAddresses": (DONE, "where it is"),
        "DNSSettings.ServerURL": (DONE, "of HTTPS"),
        "DNSSettings.ServerName": (DONE, "of TLS"),
        "DNSSettings.SupplementalMatchDomains": (DONE, "match_domains"),
        "DNSSettings.SearchDomains": (TOLD, "names are asked for as they are"),
        "DNSSettings.DomainName": (TOLD, "names are asked for as they are"),
        "DNSSettings.SupplementalMatchDomainsNoSearch": (TOLD, "names are asked for as they are"),
        "PayloadCertificateUUID": (REFUSED, "a certificate of ours for a resolver"),
        "OnDemandRules": (REFUSED, "name servers by network: say it with [on_demand] of a tunnel"),
        "ProhibitDisablement": (TOLD, _DEVICE),
    },
    "com.apple.webcontent-filter": {
        "FilterType": (DONE, "BuiltIn; Plugin is refused"),
        "DenyListURLs": (DONE, "a list that blocks"),
        "BlacklistedURLs": (DONE, "its older name"),
        "PermittedURLs": (DONE, "a list that allows"),
        "AllowListBookmarks": (DONE, "the only ones that are allowed"),
        "WhitelistedBookmarks": (DONE, "its older name"),
        "HideDenyListURLs": (TOLD, _DEVICE),
        "PayloadCertificateUUID": (REFUSED, "the filter of another program is not here"),
        "FilterDataProviderBundleIdentifier": (REFUSED, "the filter of another program is not here"),
        "FilterDataProviderDesignatedRequirement": (REFUSED, "the filter of another program is not here"),
        "FilterPacketProviderBundleIdentifier": (REFUSED, "the filter of another program is not here"),
        "FilterPacketProviderDesignatedRequirement": (REFUSED, "the filter of another program is not here"),
        "AutoFilterEnabled": (REFUSED, "what Apple takes for adult sites is not known here: add a list"),
        "FilterBrowsers": (TOLD, "all programs are filtered"),
        "FilterSockets": (TOLD, "all programs are filtered"),
        "FilterPackets": (TOLD, "flows are filtered"),
        "FilterGrade": (TOLD, "there is one filter"),
        "UserDefinedName": (DONE, "a name for people"),
        "PluginBundleID": (REFUSED, "the filter of another program is not here"),
        "ServerAddress": (REFUSED, "the filter of another program is not here"),
        "UserName": (REFUSED, "the filter of another program is not here"),
        "Password": (REFUSED, "the filter of another program is not here"),
        "Organization": (REFUSED, "the filter of another program is not here"),
        "VendorConfig": (REFUSED, "the filter of another program is not here"),
        "ContentFilterUUID": (TOLD, _APPS),
    },
    "com.apple.proxy.http.global": {
        "ProxyType": (DONE, "Manual; Auto (PAC) is refused"),
        "ProxyServer": (DONE, "the server"),
        "ProxyServerPort": (DONE, "its port"),
        "ProxyUsername": (DONE, "what it is shown"),
        "ProxyPassword": (DONE, "what it is shown"),
        "ProxyPACURL": (REFUSED, "a PAC file is a program, which is not run"),
        "ProxyPACFallbackAllowed": (REFUSED, "going direct is what a tunnel is there to prevent"),
        "ProxyCaptiveLoginAllowed": (DONE, "tunflow portal (docs/portal.md)"),
    },
    "com.apple.wifi.managed": {
        "SSID_STR": (TOLD, "networks are joined by tunflow wifi join"),
        "HIDDEN_NETWORK": (TOLD, "hidden networks are joined by hand"),
        "AutoJoin": (TOLD, "the network manager decides"),
        "EncryptionType": (TOLD, "tunflow wifi join finds it out"),
        "Password": (TOLD, "tunflow wifi join asks for it"),
        "IsHotspot": (TOLD, "docs/wifi.md: HotspotHelper"),
        "CaptiveBypass": (TOLD, "portal_probes = [] in [tunnel]"),
        "DisableAssociationMACRandomization": (TOLD, "the network manager decides"),
        "EAPClientConfiguration": (TOLD, "the network manager's"),
        "PayloadCertificateUUID": (TOLD, "the network manager's"),
        "ProxyType": (REFUSED, "a proxy of one network only"),
        "ProxyServer": (REFUSED, "a proxy of one network only"),
        "ProxyServerPort": (REFUSED, "a proxy of one network only"),
        "ProxyUsername": (REFUSED, "a proxy of one network only"),
        "ProxyPassword": (REFUSED, "a proxy of one network only"),
        "ProxyPACURL": (REFUSED, "a proxy of one network only"),
        "ProxyPACFallbackAllowed": (REFUSED, "a proxy of one network only"),
    },
}


def wanted_kind(key: str, value: object) -> str | None:
    """What the value of a key that is carried has to be; None where it is that. Else it would count as not there."""
    if key in SWITCHES:
        return None if isinstance(value, int) and value in (0, 1) else "a switch"
    if key in TABLES:
        return None if isinstance(value, dict) else "a dictionary"
    if key in NUMBERS:
        return None if isinstance(value, int) else "a number"
    if key not in LISTS:
        return None if isinstance(value, str | bytes) else "a text"
    kind, words = (dict, "a list of dictionaries") if key in DICTIONARIES else (str, "a list of texts")
    return None if isinstance(value, list) and all(isinstance(each, kind) for each in value) else words
