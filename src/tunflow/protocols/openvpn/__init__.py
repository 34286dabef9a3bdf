"""OpenVPN, both ends, without I/O: docs/openvpn.md says what is done, openvpn-rfc is the description of the wire."""
