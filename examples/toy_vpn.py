"""A VPN in under 100 lines: IP packets over one TLS connection. docs/tutorial.md builds it step by step.

Server (root): python toy_vpn.py PORT CERTIFICATE KEY SECRET
               nft add table ip toy; nft 'add chain ip toy out { type nat hook postrouting priority srcnat; }'
               nft add rule ip toy out ip saddr 10.99.0.0/24 masquerade; sysctl net.ipv4.ip_forward=1
Client:        tunflow run --provider toy_vpn.py:ToyVPN --config server=HOST:PORT --config ca=CERTIFICATE
               --config secret=SECRET -- CMD
"""

import asyncio
import hmac
import ssl
import subprocess
import sys

from tunflow.host.tun import TunDevice
from tunflow.providers import DNSSettings, IPv4Route, IPv4Settings, PacketTunnelNetworkSettings, PacketTunnelProvider
from tunflow.wire.virtio_net import PLAIN

MTU = 1400
NAME = "toy-vpn"  # what the server's certificate is for


def frame(packets):
    """Each packet behind two bytes of length."""
    return b"".join(part for packet in packets for part in (len(packet).to_bytes(2, "big"), packet))


async def read_frame(stream_read):
    return await stream_read(int.from_bytes(await stream_read(2), "big"))


class ToyVPN(PacketTunnelProvider):
    """The client's end."""

    async def start_tunnel(self, options):
        configuration = self.protocol_configuration.provider_configuration
        host, _, port = configuration["server"].rpartition(":")
        tls = ssl.create_default_context(cafile=configuration["ca"])
        self.server = await self.create_tcp_connection(host, int(port), tls=tls, server_name=NAME)
        await self.server.write(frame([configuration["secret"].encode()]))
        address = (await read_frame(self.server.read_exactly)).decode()
        await self.set_tunnel_network_settings(
            PacketTunnelNetworkSettings(
                tunnel_remote_address=host,
                mtu=MTU,
                ipv4_settings=IPv4Settings([address], included_routes=[IPv4Route.default()]),
                dns_settings=DNSSettings([configuration.get("dns", "1.1.1.1")]),
            )
        )
        self.create_task(self.send())
        self.create_task(self.receive())

    async def stop_tunnel(self, reason):
        self.server.cancel()

    async def send(self):
        while True:
            await self.server.write(frame(await self.packet_flow.read_packets()))

    async def receive(self):
        while True:
            self.packet_flow.write_packets([await read_frame(self.server.read_exactly)])


async def serve(port, certificate, key, secret):
    """The server's end: a TUN device, and a TLS connection for each address of 10.99.0.0/24."""
    tun = TunDevice.open("toy%d")
    tun.forgo_offload()
    subprocess.run(["ip", "addr", "add", "10.99.0.1/24", "dev", tun.name], check=True)
    subprocess.run(["ip", "link", "set", tun.name, "up", "mtu", str(MTU)], check=True)
    clients = {}  # packed address -> writer

    def outwards():
        for packet in tun.read(64):
            writer = clients.get(packet[26:30])  # IPv4 destination, behind the 10 bytes of virtio-net header
            if writer is not None and writer.transport.get_write_buffer_size() < 1 << 20:  # else lost, as on a wire
                writer.write(frame([packet[10:]]))

    async def client(reader, writer):
        address = b""
        try:
            free = [n for n in range(2, 255) if bytes([10, 99, 0, n]) not in clients]
            if hmac.compare_digest(await read_frame(reader.readexactly), secret.encode()) and free:
                address = bytes([10, 99, 0, free[0]])
                clients[address] = writer
                writer.write(frame([f"10.99.0.{free[0]}/24".encode()]))
            while packet := address and await read_frame(reader.readexactly):
                if packet[12:16] == address:  # nobody sends in another's name
                    tun.write([(PLAIN, packet)])
        except (EOFError, OSError):
            pass
        finally:
            clients.pop(address, None)
            writer.close()

    asyncio.get_running_loop().add_reader(tun.fileno(), outwards)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    await (await asyncio.start_server(client, "0.0.0.0", int(port), ssl=tls)).serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
