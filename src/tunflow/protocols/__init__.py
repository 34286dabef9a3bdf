"""Proxy and VPN protocols without I/O, one folder each, and the links that name their servers."""
