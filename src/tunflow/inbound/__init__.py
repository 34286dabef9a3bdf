"""Owns what others connect to: proxy servers, ports for programs that know proxies, and ShadowVPN's server.

Their protocols are `tunflow.protocols`, without I/O. Nothing here has a stack.
"""
