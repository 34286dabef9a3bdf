"""Packet planes: machines that turn IP packets into a VPN protocol's datagrams and back; pure (see tunflow.machine)."""
