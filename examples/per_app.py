"""Sends one program through Tor, or another proxy, and the rest straight out.

tunflow run --provider examples/per_app.py:PerApp --config program=/usr/bin/curl -- bash
(with --config proxy=socks5://127.0.0.1:1080 for another proxy; the default is Tor's port)
"""

from tunflow import AppProxyProvider


class PerApp(AppProxyProvider):
    """Looks at whose flow it is, and gives it to one dialer or the other."""

    async def start_proxy(self, options):
        configuration = self.protocol_configuration.provider_configuration
        self.program = configuration["program"]
        self.proxy = await self.dialer(configuration.get("proxy", "tor://127.0.0.1:9050"))

    async def handle_new_flow(self, flow):
        process = flow.meta_data.process
        if process is None:
            return False  # whose it is nobody knows: better refused than sent the wrong way
        await flow.carry(self.proxy if process.executable == self.program else None)
        return True
