"""What a command that serves a device gives its tunnel: this process, made fit for many flows, and its options."""

from __future__ import annotations

import argparse
import gc
import os
from typing import TYPE_CHECKING, BinaryIO, Literal

from tunflow.cli.stderr import say
from tunflow.errors import LocalError
from tunflow.inbound.budget import raise_limit
from tunflow.loop.reactor import Reactor
from tunflow.paths import parse_path
from tunflow.tunnel.assemble import ServingContext
from tunflow.tunnel.process_filter import ProcessFilter

if TYPE_CHECKING:
    from tunflow.api.server import APIServer

RESERVED_DESCRIPTORS = 64
"""Descriptors that no flow gets: our own, inherited ones, names and pings. Half of them where there are few."""


def check_pcap(file: str | None) -> None:
    """Raise LocalError unless the file that `--pcap` names can be written to; nothing in it is lost."""
    if (opened := open_pcap(file, "ab")) is not None:
        opened.close()


def open_pcap(file: str | None, mode: Literal["wb", "ab"] = "wb") -> BinaryIO | None:
    """The file that `--pcap` names, which is its owner's alone. Raises LocalError."""
    if file is None:
        return None
    try:
        return open(parse_path(file), mode, opener=lambda path, flags: os.open(path, flags, 0o600))
    except OSError as error:
        raise LocalError(f"--pcap: cannot write {file}: {error.strerror}") from error


def serving_context(
    options: argparse.Namespace, reactor: Reactor, *, pcap: BinaryIO | None = None, api: APIServer | None = None
) -> ServingContext:
    """Where this process serves a device as a command's options say; `api` is who shows it. Raises LocalError."""
    return ServingContext(
        reactor,
        say if api is None else api.log.also(say),
        ProcessFilter(reactor, say),
        descriptors=prepare_process(),
        verbose=options.verbose,
        memory_limit=options.memory_limit,
        pcap=pcap,
        tells_statistics=options.stats,
        watcher=api,
        warn=None if api is None else api.log.also(say, "warning"),
        trace=None if api is None else api.log.also(say, "debug"),
    )


def prepare_process() -> int:
    """Make this process fit for many flows; how many of them may have a descriptor at a time.

    Raises LocalError when too few descriptors are allowed.
    """
    limit = raise_limit()
    # What there is now stays, and what comes holds no cycles: the collector need not look at it so often.
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    return limit - min(RESERVED_DESCRIPTORS, limit // 2)
