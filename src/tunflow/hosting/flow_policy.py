"""Asks an app, transparent or DNS proxy provider about each new flow."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, cast

from tunflow.conduit import ClientStream
from tunflow.dataplane.decision import Carry, Decision, Hand, Policy, Refuse
from tunflow.endpoint import Endpoint
from tunflow.flow import FlowInfo
from tunflow.hosting.tcp_flow import StackTCPFlow
from tunflow.hosting.udp_flow import StackUDPFlow
from tunflow.protocols.contract import Outbound
from tunflow.providers.app_proxy import AppProxyProvider, TransparentProxyProvider
from tunflow.providers.app_rule import AppRule
from tunflow.providers.dns_proxy import DNSProxyProvider
from tunflow.providers.errors import TunnelProviderError, TunnelProviderErrorCode
from tunflow.providers.tunnel_settings import TransparentProxyNetworkSettings
from tunflow.stack.udp import UDPRun

if TYPE_CHECKING:
    from tunflow.dataplane.driver import Driver
    from tunflow.hosting.session import ProviderSession

DNS_PORT = 53


class ProviderPolicy(Policy):
    """A flow of a program that `app_rules` name (None: of any program) is the provider's to take.

    What is not its business goes through `straight`; so does what a transparent proxy declines. What another proxy
    declines is refused, and so is what would be its business while it does not run: nothing goes around it.
    """

    def __init__(
        self,
        session: ProviderSession,
        provider: AppProxyProvider | DNSProxyProvider,
        straight: Outbound,
        app_rules: Sequence[AppRule] | None = None,
    ) -> None:
        self.driver: Driver | None = None
        """The driver that asks; set before the first flow."""
        self._session = session
        self._provider = provider
        self._straight = straight
        self._app_rules = app_rules

    def stream(self, flow: FlowInfo, connection: ClientStream) -> Decision | None:
        """A new TCP connection."""
        if not self._concerns(flow):
            return self._pass(flow.target)
        if not self._session.serves_flows:
            return self._declined(flow.target)
        driver = self._driver()
        theirs = StackTCPFlow(driver, connection, flow, self._straight)
        answer = self._ask("handle_new_flow", lambda: self._provider.handle_new_flow(theirs))
        if isinstance(answer, bool):
            if answer:
                return Hand(stream=lambda *_: theirs.owner)
            theirs.let_go()
            return self._declined(flow.target)

        def decline() -> None:
            if not theirs.is_given_away and connection.held:
                theirs.give_away(self._declined(flow.target))

        self._await(answer, decline)
        return Hand(stream=lambda *_: theirs.owner)

    def datagrams(self, flow: FlowInfo, run: UDPRun) -> Decision | None:
        """The first datagrams of a client's socket; the provider gets all of the socket's."""
        if not self._concerns(flow):
            return self._pass(flow.target)
        if not self._session.serves_flows:
            return self._declined(flow.target)
        theirs = StackUDPFlow(self._driver(), run.flow.mapping, flow, self._straight)
        target = flow.target if flow.hostname is None else Endpoint(flow.hostname, flow.target.port)
        answer = self._ask("handle_new_udp_flow", lambda: self._provider.handle_new_udp_flow(theirs, target))
        owner = theirs.owner
        hand = Hand(datagrams=lambda _driver, _flow: owner, whole_socket=True)
        if isinstance(answer, bool):
            if answer:
                return hand
            theirs.let_go()
            return self._declined(flow.target)

        def decline() -> None:
            if not theirs.is_given_away:
                theirs.give_away(lambda later: self._declined(later.flow.target))

        self._await(answer, decline)
        return hand

    def _driver(self) -> Driver:
        assert self.driver is not None
        return self.driver

    def _concerns(self, flow: FlowInfo) -> bool:
        """Whether a flow is the provider's business."""
        provider = self._provider
        if isinstance(provider, DNSProxyProvider) and flow.target.port != DNS_PORT:
            return False
        if isinstance(provider, TransparentProxyProvider) and not self._is_included(flow):
            return False
        rules = self._app_rules
        return rules is None or any(rule.matches(flow.process, flow.hostname) for rule in rules)

    def _is_included(self, flow: FlowInfo) -> bool:
        settings = self._session.settings
        if not isinstance(settings, TransparentProxyNetworkSettings):
            return False
        facts = flow.protocol, flow.target, flow.hostname
        if any(rule.matches(*facts) for rule in settings.excluded_network_rules):
            return False
        return any(rule.matches(*facts) for rule in settings.included_network_rules)

    def _pass(self, target: Endpoint) -> Decision:
        return Carry(self._straight, target)

    def _declined(self, target: Endpoint) -> Decision:
        return self._pass(target) if isinstance(self._provider, TransparentProxyProvider) else Refuse.RESET

    def _ask(self, method: str, call: Callable[[], bool | Awaitable[bool]]) -> bool | Awaitable[bool]:
        """What the provider answers; False when it raises."""
        try:
            answer = call()
        except BaseException as error:
            self._session.blame(method, error)
            return False
        if isinstance(answer, bool) or inspect.isawaitable(answer):
            return answer
        self._session.blame(method, _not_bool(method, answer))
        return False

    def _await(self, answer: bool | Awaitable[bool], decline: Callable[[], None]) -> None:
        async def wait() -> None:
            taken = False
            try:
                result = await cast("Awaitable[bool]", answer)
                if not isinstance(result, bool):
                    raise _not_bool("handle_new_flow", result)
                taken = result
            finally:
                if not taken:
                    decline()

        self._session.create_task(wait(), "handle_new_flow")


def _not_bool(method: str, answer: object) -> TunnelProviderError:
    return TunnelProviderError(
        TunnelProviderErrorCode.FAILED, f"{method} answered {answer!r}: expected True (taken) or False"
    )
