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

_DEVICE = "a device's own restriction"
_IPSEC = "IPsec is not carried from such a file"
_APPS = "tunflow names programs, not bundles: use apps in the profile"

_VPN: dict[str, tuple[str, str]] = {
    "VPNType": (DONE, "VPN; IKEv2, IPSec, L2TP, PPTP, AlwaysOn and TransparentProxy are refused"),
    "VPNSubType": (DONE, "WireGuard's and OpenVPN Connect's"),
    "VPN": (DONE, "OnDemandEnabled, OnDemandRules, IncludeAllNetworks (the kill switch), ExcludeLocalNetworks"),
    "VendorConfig": (DONE, "the other program's configuration"),
    "UserDefinedName": (DONE, "a name for people"),
    "IPv4": (TOLD, "the whole of IPv4 goes through the tunnel"),
    "Proxies": (REFUSED, "proxies inside of the VPN are not set"),
    "DNS": (REFUSED, "name servers inside of the VPN: say them in [dns]"),
    "IKEv2": (REFUSED, _IPSEC),
    "IPSec": (REFUSED, _IPSEC),
    "PPP": (REFUSED, "L2TP and PPTP are not carried"),
    "AlwaysOn": (REFUSED, _IPSEC),
    "TransparentProxy": (REFUSED, "the proxy of another program is not here"),
}

KEYS: dict[str, dict[str, tuple[str, str]]] = {
    "com.apple.vpn.managed": _VPN,
    "com.apple.vpn.managed.applayer": {
        **_VPN,
        "VPNUUID": (TOLD, _APPS),
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
        "DNSSettings": (DONE, "DNSProtocol, ServerAddresses, ServerURL, ServerName, SupplementalMatchDomains"),
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
