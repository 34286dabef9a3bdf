r"""A VPN in under 100 lines: IP packets over one TLS connection. docs/tutorial.md builds it step by step.

Server, as root, with 10.99.0.0/24 masqueraded: python toy_vpn.py PORT CERTIFICATE KEY SECRET
Client: tunflow run --provider toy_vpn.py:ToyVPN --config server=HOST:PORT --config ca=CERTIFICATE \
        --config secret=SECRET -- CMD
"""

import asyncio
import hmac
import ssl
import subprocess
import sys

from tunflow import DNSSettings, IPv4Route, IPv4Settings, PacketTunnelNetworkSettings, PacketTunnelProvider
from tunflow.host.tun import TunDevice
from tunflow.wire.virtio_net import PLAIN

MTU, NAME = 1400, "toy-vpn"  # the server's certificate is for that name


def frame(packets):
    """Each packet behind two bytes of length."""
    return b"".join(part for packet in packets for part in (len(packet).to_bytes(2, "big"), packet))


async def unframe(read_exactly):
    return await read_exactly(int.from_bytes(await read_exactly(2), "big"))


class ToyVPN(PacketTunnelProvider):
    """The client's end."""

    async def start_tunnel(self, options):
        config = self.protocol_configuration.provider_configuration
        host, _, port = config["server"].rpartition(":")
        tls = ssl.create_default_context(cafile=config["ca"])
        self.server = await self.create_tcp_connection(host, int(port), tls=tls, server_name=NAME)
        await self.server.write(frame([config["secret"].encode()]))
        address = (await unframe(self.server.read_exactly)).decode()
        settings = PacketTunnelNetworkSettings(
            tunnel_remote_address=host,
            mtu=MTU,
            ipv4_settings=IPv4Settings([address], included_routes=[IPv4Route.default()]),
            dns_settings=DNSSettings([config.get("dns", "1.1.1.1")]),
        )
        await self.set_tunnel_network_settings(settings)
        self.create_task(self.send())
        self.create_task(self.receive())

    async def stop_tunnel(self, reason):
        self.server.cancel()

    async def send(self):
        while True:
            await self.server.write(frame(await self.packet_flow.read_packets()))

    async def receive(self):
        while True:
            self.packet_flow.write_packets([await unframe(self.server.read_exactly)])


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
            if hmac.compare_digest(await unframe(reader.readexactly), secret.encode()):
                address = next(bytes([10, 99, 0, n]) for n in range(2, 255) if bytes([10, 99, 0, n]) not in clients)
                clients[address] = writer
                writer.write(frame([f"10.99.0.{address[3]}/24".encode()]))
            while packet := address and await unframe(reader.readexactly):
                if packet[12:16] == address:  # nobody sends in another's name
                    tun.write([(PLAIN, packet)])
        except (EOFError, OSError) as error:
            print(f"a client left: {error}", file=sys.stderr)
        finally:
            clients.pop(address, None)
            writer.close()

    asyncio.get_running_loop().add_reader(tun.fileno(), outwards)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    await (await asyncio.start_server(client, "0.0.0.0", int(port), ssl=tls)).serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
