"""Lists with an `interval`, fetched again by a process that serves a device by itself: `run`, `attach`, `embed`.

`up` does it in its engine. Here the process's own sockets would leave around the tunnel, so that a list is fetched
through the way out that the tunnel has for what no rule is about (`FetchThrough`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tunflow.tunnel.assemble import Dataplane, ServingContext
from tunflow.tunnel.fetch_through import FetchThrough
from tunflow.tunnel.list_refresh import ListRefresh
from tunflow.tunnel.outbounds import Outbounds, find_hops_now, make_outbounds
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.rule_update import update

Background = Callable[[], Awaitable[None]]
"""What runs beside the packets until it is cancelled."""


def refresher(
    dataplane: Dataplane,
    serving: ServingContext,
    outbounds: Outbounds,
    made: Callable[[Plan], Plan] = lambda plan: plan,
) -> Background | None:
    """What fetches the lists of a dataplane again; None where its profile has no such lists.

    `made` is what becomes of a plan before it is served.
    """
    if not dataplane.plan.fetched_lists:
        return None

    async def run() -> None:
        through = FetchThrough(serving.reactor, lambda: dataplane.default, serving.sockets)

        async def reload(plan: Plan) -> None:
            find, failures = await asyncio.to_thread(find_hops_now, plan.first_hops)
            for failure in failures:
                serving.say(failure)
            dataplane.use(made(plan), make_outbounds(plan, find, outbounds.tunnels, outbounds.sessions))
            serving.say("new lists are in use")

        lists = ListRefresh(
            lambda: dataplane.plan,
            reload,
            serving.say,
            lambda sources, place: update(sources, place, fetch=through.fetch),
            lasting=False,
        )
        if serving.watcher is not None:
            serving.watcher.fetch_by(lists)
        try:
            await lists.run()
        finally:
            through.close()

    return run
