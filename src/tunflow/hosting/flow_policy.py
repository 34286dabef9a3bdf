"""Asks an app, transparent or DNS proxy provider about each new flow."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, cast

from tunflow.dataplane.decision import Carry, DatagramCase, Decision, Delegate, Refuse, StreamCase
from tunflow.endpoint import Endpoint
from tunflow.flow import FlowInfo
from tunflow.hosting.tcp_flow import StackTCPFlow
from tunflow.hosting.udp_flow import StackUDPFlow
from tunflow.protocols.contract import Outbound
from tunflow.providers.app_proxy import AppProxyProvider, TransparentProxyProvider
from tunflow.providers.app_rule import AppRule
from tunflow.providers.dns_proxy import DNSProxyProvider
from tunflow.providers.errors import TunnelProviderError, TunnelProviderErrorCode
from tunflow.providers.tunnel_settings import TransparentProxyNetworkSettings, TunnelNetworkSettings

DNS_PORT = 53


class AskingSession(Protocol):
    """What asking a provider takes of its session."""

    @property
    def serves_flows(self) -> bool:
        """True if the provider is to be asked."""

    @property
    def settings(self) -> TunnelNetworkSettings | None:
        """What the provider has set."""

    def blame(self, what: str, error: BaseException) -> str:
        """Log the provider's failure."""

    def create_task(self, work: Coroutine[Any, Any, object], name: str) -> object:
        """A task that ends with the provider."""


class ProviderPolicy:
    """A flow of a program that `app_rules` name (None: of any program) is the provider's to take.

    What is not its business goes through `straight`; so does what a transparent proxy declines. What another proxy
    declines is refused, and so is what would be its business while it does not run: nothing goes around it.
    """

    def __init__(
        self,
        session: AskingSession,
        provider: AppProxyProvider | DNSProxyProvider,
        straight: Outbound,
        app_rules: Sequence[AppRule] | None = None,
    ) -> None:
        self._session = session
        self._provider = provider
        self._straight = straight
        self._app_rules = app_rules

    def stream(self, case: StreamCase) -> Decision | None:
        """A new TCP connection."""
        flow = case.flow
        if not self._concerns(flow):
            return self._pass(flow.target)
        if not self._session.serves_flows:
            return self._declined(flow.target)
        theirs = StackTCPFlow(case.context, case.connection, flow, self._straight, case.give)
        answer = self._ask("handle_new_flow", lambda: self._provider.handle_new_flow(theirs))
        if isinstance(answer, bool):
            if answer:
                return Delegate(stream=lambda _: theirs.owner)
            theirs.let_go()
            return self._declined(flow.target)

        def decline() -> None:
            if not theirs.is_given_away and case.connection.held:
                theirs.give_away(self._declined(flow.target))

        self._await(answer, decline)
        return Delegate(stream=lambda _: theirs.owner)

    def datagrams(self, case: DatagramCase) -> Decision | None:
        """The first datagrams of a client's socket; the provider gets all of the socket's."""
        flow = case.flow
        if not self._concerns(flow):
            return self._pass(flow.target)
        if not self._session.serves_flows:
            return self._declined(flow.target)
        theirs = StackUDPFlow(case, self._straight)
        target = flow.target if flow.hostname is None else Endpoint(flow.hostname, flow.target.port)
        answer = self._ask("handle_new_udp_flow", lambda: self._provider.handle_new_udp_flow(theirs, target))
        owner = theirs.owner
        decision = Delegate(datagrams=lambda _: owner, whole_socket=True)
        if isinstance(answer, bool):
            if answer:
                return decision
            theirs.let_go()
            return self._declined(flow.target)

        def decline() -> None:
            if not theirs.is_given_away:
                theirs.give_away(lambda later: self._declined(later.flow.target))

        self._await(answer, decline)
        return decision

    def _concerns(self, flow: FlowInfo) -> bool:
        """Return True if a flow is the provider's business."""
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
