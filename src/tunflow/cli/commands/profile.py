"""`tunflow profile`."""

from __future__ import annotations

import argparse

from tunflow.cli.commands import Help

HELP = Help(
    "list, add, show, export, remove, import and update saved profiles",
    "Saved profiles: TOML files with all that makes a tunnel (docs/profiles.md).",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """As `Command.arguments`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))

    def action(name: str, text: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = actions.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + "."
        )
        made.add_argument("--json", action="store_true", help="print JSON")
        return made

    action("list", "list the saved profiles")
    add = action("add", "save a profile for a server, or for a chain of servers")
    add.add_argument("profile", metavar="NAME", nargs="?", help="what to call it; default: the link's tag, or its host")
    add.add_argument(
        "links",
        metavar="LINK",
        nargs="*",
        help="the server; several are a chain, first hop first. - reads them from stdin; default: TUNFLOW_SERVER",
    )
    show = action("show", "show a profile, its passwords hidden")
    show.add_argument("profile", metavar="PROFILE", help="a saved profile's name, or a file")
    show.add_argument("--secrets", action="store_true", help="with passwords, as the file has it")
    show.add_argument("--qr", action="store_true", help="print QR codes of its servers' links (with the passwords)")
    _export_arguments(action("export", "write what an iPhone or Mac can do of a profile by itself"))
    action("remove", "delete a saved profile").add_argument("profile", metavar="NAME")
    import_ = action("import", "save a profile from a link, a file, a web address, or stdin")
    import_.add_argument(
        "source",
        metavar="SOURCE",
        help="a server link; a file, or - for stdin, or an https:// or ssconf:// address, with links, base64 of "
        "links, Apple's .mobileconfig, JSON of Shadowsocks, sing-box or Xray, Outline's YAML, or a Clash or Surge "
        "configuration",
    )
    import_.add_argument(
        "--partial",
        action="store_true",
        help="whole configurations: leave out what is not understood, instead of refusing it all",
    )
    import_.add_argument("--name", metavar="NAME", dest="profile", help="what to call it; default: by its source")
    import_.add_argument(
        "--user-agent",
        metavar="NAME",
        help="which program a web address is told we are: some answer each in its format",
    )
    import_.add_argument(
        "--key",
        metavar="RW…",
        help="a web address: take it only if this minisign key signed it, now and at each update; needed for a whole "
        "profile of tunflow's own",
    )
    update = action("update", "fetch the servers of subscriptions again; where that fails they stay as they are")
    update.add_argument("profiles", metavar="PROFILE", nargs="*", help="default: all that were imported from the web")
    update.add_argument("--force", action="store_true", help="also take a list of less than half as many servers")
    for each in (add, import_):
        each.add_argument("--replace", action="store_true", help="replace a profile of that name")


def _export_arguments(export: argparse.ArgumentParser) -> None:
    export.add_argument("profile", metavar="PROFILE", help="a saved profile's name, or a file")
    export.add_argument(
        "--mobileconfig",
        action="store_true",
        required=True,
        help="as Apple's configuration profile, the one format there is",
    )
    export.add_argument("--output", metavar="FILE", help="default: stdout")


def run(options: argparse.Namespace) -> int:
    """As `Command.run`."""
    from tunflow.cli.profile import profile  # noqa: PLC0415

    return profile(options)
