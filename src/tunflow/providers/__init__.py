"""The extension points: classes to subclass, their flows, packets and settings. docs/extension-points.md has them all.

Apple's names of NetworkExtension without NE, in Python's spelling, with `async` for completion handlers.
"""

from tunflow.endpoint import Endpoint, endpoint
from tunflow.flow import ProcessInfo
from tunflow.providers.app_proxy import AppProxyProvider, TransparentProxyProvider
from tunflow.providers.app_rule import AppRule
from tunflow.providers.configuration import TunnelProviderProtocol
from tunflow.providers.connections import TCPConnection, UDPSession
from tunflow.providers.dialers import FlowDialer
from tunflow.providers.dns_proxy import DNSProxyProvider
from tunflow.providers.dns_settings import DNSOverHTTPSSettings, DNSOverTLSSettings, DNSProtocol, DNSSettings
from tunflow.providers.errors import (
    AppProxyFlowError,
    AppProxyFlowErrorCode,
    TunnelProviderError,
    TunnelProviderErrorCode,
    flow_error,
)
from tunflow.providers.filter_flow import FilterFlow, FilterReport, ReportAction, ReportEvent
from tunflow.providers.filter_provider import FilterControlProvider, FilterDataProvider, FilterProvider
from tunflow.providers.filter_settings import FilterAction, FilterProviderConfiguration, FilterRule, FilterSettings
from tunflow.providers.filter_verdicts import (
    FILTER_FLOW_BYTES_MAX,
    ControlVerdict,
    DataVerdict,
    NewFlowVerdict,
    RemediationVerdict,
    StatisticsReportFrequency,
)
from tunflow.providers.flow_metadata import FlowMetaData
from tunflow.providers.flows import AppProxyFlow, TCPFlow, UDPFlow
from tunflow.providers.ip_settings import IPv4Route, IPv4Settings, IPv6Route, IPv6Settings
from tunflow.providers.network_path import InterfaceType, NetworkPath, PathStatus
from tunflow.providers.network_rule import NetworkRule, NetworkRuleProtocol, TrafficDirection
from tunflow.providers.packet_flow import Packet, PacketTunnelFlow
from tunflow.providers.packet_tunnel import PacketTunnelProvider
from tunflow.providers.provider import Provider, TunnelProvider
from tunflow.providers.proxy_settings import ProxyServer, ProxySettings
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.providers.tunnel_settings import (
    PacketTunnelNetworkSettings,
    TransparentProxyNetworkSettings,
    TunnelNetworkSettings,
)

__all__ = [
    "FILTER_FLOW_BYTES_MAX",
    "AppProxyFlow",
    "AppProxyFlowError",
    "AppProxyFlowErrorCode",
    "AppProxyProvider",
    "AppRule",
    "ConnectionStatus",
    "ControlVerdict",
    "DNSOverHTTPSSettings",
    "DNSOverTLSSettings",
    "DNSProtocol",
    "DNSProxyProvider",
    "DNSSettings",
    "DataVerdict",
    "Endpoint",
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
    "IPv4Route",
    "IPv4Settings",
    "IPv6Route",
    "IPv6Settings",
    "InterfaceType",
    "NetworkPath",
    "NetworkRule",
    "NetworkRuleProtocol",
    "NewFlowVerdict",
    "Packet",
    "PacketTunnelFlow",
    "PacketTunnelNetworkSettings",
    "PacketTunnelProvider",
    "PathStatus",
    "ProcessInfo",
    "Provider",
    "ProviderStopReason",
    "ProxyServer",
    "ProxySettings",
    "RemediationVerdict",
    "ReportAction",
    "ReportEvent",
    "StatisticsReportFrequency",
    "TCPConnection",
    "TCPFlow",
    "TrafficDirection",
    "TransparentProxyNetworkSettings",
    "TransparentProxyProvider",
    "TunnelNetworkSettings",
    "TunnelProvider",
    "TunnelProviderError",
    "TunnelProviderErrorCode",
    "TunnelProviderProtocol",
    "UDPFlow",
    "UDPSession",
    "endpoint",
    "flow_error",
]
