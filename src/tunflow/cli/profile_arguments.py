"""The options of `tunflow profile`, apart from the command: its imports are heavy and every command line is parsed."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands and their options."""
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
    show.add_argument("--qr", action="store_true", help="print QR codes of its ss:// links (they hold the password)")
    action("remove", "delete a saved profile").add_argument("profile", metavar="NAME")
    import_ = action("import", "save a profile from a link, a file, a web address, or stdin")
    import_.add_argument(
        "source",
        metavar="SOURCE",
        help="a server link; a file, or - for stdin, or an https:// URL, with links, base64 of links, SIP008 JSON or "
        "Clash YAML",
    )
    import_.add_argument(
        "--partial",
        action="store_true",
        help="Clash YAML: leave out what is not understood, instead of refusing it all",
    )
    import_.add_argument("--name", metavar="NAME", dest="profile", help="what to call it; default: by its source")
    for each in (add, import_):
        each.add_argument("--replace", action="store_true", help="replace a profile of that name")
