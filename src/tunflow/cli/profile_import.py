"""`tunflow profile add` and `import`: what comes is read, checked and saved."""

from __future__ import annotations

import argparse
import os
import sys

from tunflow.cli.process import SERVER_VARIABLE
from tunflow.cli.profile_output import labels, print_json, print_line
from tunflow.cli.stderr import say
from tunflow.cli.subscription_text import redacted_source
from tunflow.errors import LocalError
from tunflow.profiles import file as profile_file
from tunflow.profiles.imports import summary as import_summary
from tunflow.profiles.imports.import_notice import ImportNotice
from tunflow.profiles.imports.importer import import_profile, read_source
from tunflow.profiles.imports.missing_programs import missing_programs
from tunflow.profiles.imports.subscription import name_of
from tunflow.profiles.minisign import MinisignKey
from tunflow.profiles.profile import Profile, is_profile_name
from tunflow.profiles.sections.subscription import SubscriptionSection
from tunflow.profiles.store import ProfileStore
from tunflow.tunnel.check import check
from tunflow.tunnel.subscriptions import remember, with_subscription

MOST_TOLD = 100
"""Lines about a source."""


def add_links(options: argparse.Namespace, store: ProfileStore) -> None:
    """`tunflow profile add`. Raises LocalError."""
    given = [each for each in (options.profile, *options.links) if each is not None]
    name = given.pop(0) if given and "://" not in given[0] and given[0] != "-" else None
    if given == ["-"]:
        given = sys.stdin.read(profile_file.LARGEST).split()
    links = given or os.environ.get(SERVER_VARIABLE, "").split()
    if not links:
        raise LocalError("no server given: tunflow profile add NAME ss://METHOD:PASSWORD@HOST:PORT, or TUNFLOW_SERVER")
    name = name or name_of(links[-1])
    made = Profile.parse({"name": name, "server": links}, "the new profile")
    _saved(options, store, made, [])


def import_source(options: argparse.Namespace, store: ProfileStore) -> None:
    """`tunflow profile import`. Raises LocalError or RemoteError."""
    if options.profile is not None and not is_profile_name(options.profile):
        raise LocalError(f"--name {options.profile!r} is no profile name: letters, digits and _ . + - are accepted")
    source = read_source(options.source, options.user_agent, key=_key(options.key))
    if options.source.lower().startswith("http://"):
        say("http:// is not encrypted: whoever is on the way can read these servers' passwords, or give you others")
    imported = import_profile(source, options.profile)
    imported.told.extend(missing_programs(imported.profile))
    if not imported.is_usable:
        _tell(imported.told, "")
        raise LocalError(f"{redacted_source(options.source)} has no server that can be used: nothing is saved")
    if imported.is_whole and imported.lost and not options.partial:
        _tell(imported.told, "")
        where = redacted_source(options.source)
        raise LocalError(f"{len(imported.lost)} entries of {where} are not understood; --partial imports the rest")
    made = imported.profile
    if source.address is not None and source.answer is not None:
        section = SubscriptionSection(
            url=source.address, user_agent=options.user_agent, partial=options.partial, key=options.key
        )
        made = with_subscription(made, section)
    _saved(options, store, made, imported.told)
    if source.answer is not None:
        remember(made.name, source.answer)


def _key(text: str | None) -> str | None:
    """What `--key` names. Raises LocalError."""
    if text is not None:
        try:
            MinisignKey.of(text)
        except ValueError as error:
            raise LocalError(f"--key {text!r}: {error}; it reads RW… in base64, as minisign -G prints it") from None
    return text


def _tell(told: list[ImportNotice], before: str = "") -> None:
    lines = import_summary.told_lines(told)
    for line in lines[:MOST_TOLD]:
        say(f"{before}{line}")
    if len(lines) > MOST_TOLD:
        say(f"{before}{len(lines) - MOST_TOLD} more")


def _saved(options: argparse.Namespace, store: ProfileStore, made: Profile, told: list[ImportNotice]) -> None:
    notes: list[str] = []
    missing = check(made, notes.append)
    path = store.save(made, replace=options.replace)
    if options.json:
        lost = [{"place": each.place, "reason": each.reason} for each in told if each.is_lost]
        harmless = [{"place": each.place, "reason": each.reason} for each in told if not each.is_lost]
        facts = {"name": made.name, "file": str(path), "servers": labels(made), "ends": import_summary.ends(made)}
        print_json({**facts, "skipped": lost, "told": harmless, "missing": missing})
        return
    for line in import_summary.lines(made) if made.groups or made.rules else ():
        say(line)
    _tell([each for each in told if each.is_lost], "skipped ")
    _tell([each for each in told if not each.is_lost])
    for line in (*notes, *(f"before it can come up: {each}" for each in missing)):
        say(line)
    count = len(labels(made))
    what = f"provider {made.provider}" if made.provider else f"{count} server{'s' if count != 1 else ''}"
    print_line(f"saved {made.name} with {what} in {path}")
