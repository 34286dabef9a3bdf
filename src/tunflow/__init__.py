"""A whole machine's or one program's traffic through a tunnel of your choice.

The front door: `tunflow.attach(...)` serves a TUN device, the provider classes are what a tunnel, a proxy or a filter
of your own is made of (docs/tutorial.md), `TunnelManager` keeps saved tunnels. All of it is imported when first used.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # whose own module takes its time to import
if TYPE_CHECKING:
    from tunflow.embed import Attachment, attach
    from tunflow.errors import BadPacket, LocalError, RemoteError, TunflowError
    from tunflow.profiles.profile import Profile
    from tunflow.profiles.store import ProfileStore
    from tunflow.protocols.contract import Protocol
    from tunflow.providers import (
        FILTER_FLOW_BYTES_MAX,
        AppProxyFlow,
        AppProxyFlowError,
        AppProxyFlowErrorCode,
        AppProxyProvider,
        AppRule,
        ConnectionStatus,
        ControlVerdict,
        DataVerdict,
        DNSOverHTTPSSettings,
        DNSOverTLSSettings,
        DNSProtocol,
        DNSProxyProvider,
        DNSSettings,
        Endpoint,
        FilterAction,
        FilterControlProvider,
        FilterDataProvider,
        FilterFlow,
        FilterProvider,
        FilterProviderConfiguration,
        FilterReport,
        FilterRule,
        FilterSettings,
        FlowDialer,
        FlowMetaData,
        InterfaceType,
        IPv4Route,
        IPv4Settings,
        IPv6Route,
        IPv6Settings,
        NetworkPath,
        NetworkRule,
        NetworkRuleProtocol,
        NewFlowVerdict,
        Packet,
        PacketTunnelFlow,
        PacketTunnelNetworkSettings,
        PacketTunnelProvider,
        PathStatus,
        ProcessInfo,
        Provider,
        ProviderStopReason,
        ProxyServer,
        ProxySettings,
        RemediationVerdict,
        ReportAction,
        ReportEvent,
        StatisticsReportFrequency,
        TCPConnection,
        TCPFlow,
        TrafficDirection,
        TransparentProxyNetworkSettings,
        TransparentProxyProvider,
        TunnelNetworkSettings,
        TunnelProvider,
        TunnelProviderError,
        TunnelProviderErrorCode,
        TunnelProviderProtocol,
        UDPFlow,
        UDPSession,
        endpoint,
        flow_error,
    )
    from tunflow.providers.hotspot_network import HotspotHelperConfidence, HotspotNetwork
    from tunflow.providers.hotspot_states import HotspotHelperCommandType, HotspotHelperResult
    from tunflow.providers.on_demand import (
        EvaluateConnectionAction,
        EvaluateConnectionRule,
        Lookup,
        OnDemandAction,
        OnDemandRule,
        OnDemandRuleConnect,
        OnDemandRuleDisconnect,
        OnDemandRuleEvaluateConnection,
        OnDemandRuleIgnore,
        Outcome,
        Probe,
    )
    from tunflow.tunnel.hotspot_configuration import HotspotConfiguration, HotspotConfigurationManager
    from tunflow.tunnel.hotspot_helper import HotspotHelper, HotspotHelperCommand, HotspotHelperResponse
    from tunflow.tunnel.tunnel import Tunnel
    from tunflow.tunnel.tunnel_manager import RoutingMethod, TunnelManager
    from tunflow.tunnel.vpn_connection import VPNConnection
    from tunflow.tunnel.vpn_error import VPNError, VPNErrorCode

__version__ = "0.1.0"

_ELSEWHERE = {
    "Attachment": "tunflow.embed",
    "BadPacket": "tunflow.errors",
    "EvaluateConnectionAction": "tunflow.providers.on_demand",
    "EvaluateConnectionRule": "tunflow.providers.on_demand",
    "HotspotConfiguration": "tunflow.tunnel.hotspot_configuration",
    "HotspotConfigurationManager": "tunflow.tunnel.hotspot_configuration",
    "HotspotHelper": "tunflow.tunnel.hotspot_helper",
    "HotspotHelperCommand": "tunflow.tunnel.hotspot_helper",
    "HotspotHelperCommandType": "tunflow.providers.hotspot_states",
    "HotspotHelperConfidence": "tunflow.providers.hotspot_network",
    "HotspotHelperResponse": "tunflow.tunnel.hotspot_helper",
    "HotspotHelperResult": "tunflow.providers.hotspot_states",
    "HotspotNetwork": "tunflow.providers.hotspot_network",
    "LocalError": "tunflow.errors",
    "Lookup": "tunflow.providers.on_demand",
    "OnDemandAction": "tunflow.providers.on_demand",
    "OnDemandRule": "tunflow.providers.on_demand",
    "OnDemandRuleConnect": "tunflow.providers.on_demand",
    "OnDemandRuleDisconnect": "tunflow.providers.on_demand",
    "OnDemandRuleEvaluateConnection": "tunflow.providers.on_demand",
    "OnDemandRuleIgnore": "tunflow.providers.on_demand",
    "Outcome": "tunflow.providers.on_demand",
    "Probe": "tunflow.providers.on_demand",
    "Profile": "tunflow.profiles.profile",
    "ProfileStore": "tunflow.profiles.store",
    "Protocol": "tunflow.protocols.contract",
    "RemoteError": "tunflow.errors",
    "RoutingMethod": "tunflow.tunnel.tunnel_manager",
    "TunflowError": "tunflow.errors",
    "Tunnel": "tunflow.tunnel.tunnel",
    "TunnelManager": "tunflow.tunnel.tunnel_manager",
    "VPNConnection": "tunflow.tunnel.vpn_connection",
    "VPNError": "tunflow.tunnel.vpn_error",
    "VPNErrorCode": "tunflow.tunnel.vpn_error",
    "attach": "tunflow.embed",
}
"""Where names are that are no extension points; those are in `tunflow.providers`."""

__all__ = [
    "FILTER_FLOW_BYTES_MAX",
    "AppProxyFlow",
    "AppProxyFlowError",
    "AppProxyFlowErrorCode",
    "AppProxyProvider",
    "AppRule",
    "Attachment",
    "BadPacket",
    "ConnectionStatus",
    "ControlVerdict",
    "DNSOverHTTPSSettings",
    "DNSOverTLSSettings",
    "DNSProtocol",
    "DNSProxyProvider",
    "DNSSettings",
    "DataVerdict",
    "Endpoint",
    "EvaluateConnectionAction",
    "EvaluateConnectionRule",
    "FilterAction",
    "FilterControlProvider",
    "FilterDataProvider",
    "FilterFlow",
    "FilterProvider",
    "FilterProviderConfiguration",
    "FilterReport",
    "FilterRule",
    "FilterSettings",
    "FlowDialer",
    "FlowMetaData",
    "HotspotConfiguration",
    "HotspotConfigurationManager",
    "HotspotHelper",
    "HotspotHelperCommand",
    "HotspotHelperCommandType",
    "HotspotHelperConfidence",
    "HotspotHelperResponse",
    "HotspotHelperResult",
    "HotspotNetwork",
    "IPv4Route",
    "IPv4Settings",
    "IPv6Route",
    "IPv6Settings",
    "InterfaceType",
    "LocalError",
    "Lookup",
    "NetworkPath",
    "NetworkRule",
    "NetworkRuleProtocol",
    "NewFlowVerdict",
    "OnDemandAction",
    "OnDemandRule",
    "OnDemandRuleConnect",
    "OnDemandRuleDisconnect",
    "OnDemandRuleEvaluateConnection",
    "OnDemandRuleIgnore",
    "Outcome",
    "Packet",
    "PacketTunnelFlow",
    "PacketTunnelNetworkSettings",
    "PacketTunnelProvider",
    "PathStatus",
    "Probe",
    "ProcessInfo",
    "Profile",
    "ProfileStore",
    "Protocol",
    "Provider",
    "ProviderStopReason",
    "ProxyServer",
    "ProxySettings",
    "RemediationVerdict",
    "RemoteError",
    "ReportAction",
    "ReportEvent",
    "RoutingMethod",
    "StatisticsReportFrequency",
    "TCPConnection",
    "TCPFlow",
    "TrafficDirection",
    "TransparentProxyNetworkSettings",
    "TransparentProxyProvider",
    "TunflowError",
    "Tunnel",
    "TunnelManager",
    "TunnelNetworkSettings",
    "TunnelProvider",
    "TunnelProviderError",
    "TunnelProviderErrorCode",
    "TunnelProviderProtocol",
    "UDPFlow",
    "UDPSession",
    "VPNConnection",
    "VPNError",
    "VPNErrorCode",
    "__version__",
    "attach",
    "endpoint",
    "flow_error",
]


def __getattr__(name: str) -> object:
    """Import what is asked for. Raises AttributeError for what is not in `__all__`."""
    if name not in __all__:
        raise AttributeError(f"module 'tunflow' has no attribute {name!r}")
    found = import_module(_ELSEWHERE.get(name, "tunflow.providers")).__dict__[name]
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
