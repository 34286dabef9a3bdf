"""HTTP proxies: CONNECT (RFC 9110, 9.3.6); pure."""
