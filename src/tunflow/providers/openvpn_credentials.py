"""What an OpenVPN connection needs of its user: name and password, a key's password, answers to questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunflow.protocols.openvpn.control_message import Challenge, dynamic_answer, static_answer
from tunflow.protocols.openvpn.settings import OpenVPNSettings
from tunflow.protocols.openvpn.tls import needs_password
from tunflow.providers import terminal


class OpenVPNCredentials:
    """Asked for once. `values` are the provider's configuration: `username`, `password`, `key_password`, `answer`."""

    def __init__(self, settings: OpenVPNSettings, values: Mapping[str, Any]) -> None:
        self._settings = settings
        self._values = {key: str(values[key]) for key in _KEYS if key in values}
        self._password = ""

    async def complete(self) -> OpenVPNSettings:
        """The settings with everything that was missing. Raises LocalError when nobody can be asked."""
        settings, values = self._settings, self._values
        if needs_password(settings.identity):
            text = values.get("key_password") or await ask(
                f"{settings.name}: password of the private key: ", echo=False
            )
            settings = settings.with_key_password(text)
        if not settings.asks_user:
            return settings
        username = values.get("username") or settings.username
        password = values.get("password") or settings.password
        if not username:
            username = await ask(f"{settings.name}: username: ", echo=True)
        if not password:
            password = await ask(f"{settings.name}: password of {username}: ", echo=False)
        if settings.static_challenge:
            answer = values.get("answer") or await ask(
                f"{settings.name}: {settings.static_challenge} ", echo=settings.static_challenge_echo
            )
            password = static_answer(password, answer)
        return settings.with_user(username, password)

    async def answered(self, settings: OpenVPNSettings, challenge: Challenge) -> OpenVPNSettings:
        """The settings with the answer to a question that the server ended the last attempt with. Raises LocalError."""
        answer = await self.answer(challenge)
        return settings.with_user(challenge.username, dynamic_answer(challenge, answer))

    async def answer(self, challenge: Challenge) -> str:
        """The user's answer; "" where none is needed. Raises LocalError when nobody can be asked."""
        if not challenge.needs_answer:
            return ""
        return self._values.get("answer") or await ask(f"{self._settings.name}: {challenge.text} ", echo=challenge.echo)


_KEYS = ("username", "password", "key_password", "answer")
_REMEDY = "write username, password, key_password or answer into the profile's [provider_configuration]"


async def ask(prompt: str, *, echo: bool) -> str:
    """What the user types on the terminal. Raises LocalError when there is none."""
    return await terminal.ask(prompt, echo=echo, remedy=_REMEDY)
