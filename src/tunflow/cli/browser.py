"""Which browser shows a login page, and how it is told to know nothing of its user: no window of one that runs, no
cookies, no profile. Pure but for looking whether programs are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tunflow.errors import LocalError
from tunflow.host.program import command

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "brave-browser", "microsoft-edge")
FIREFOXES = ("firefox", "firefox-esr", "librewolf")
OTHERS = ("epiphany", "falkon", "konqueror", "qutebrowser", "w3m", "lynx", "links")
"""Get the page's address alone; their files are those of a home that is made for them."""


def browser_command(chosen: str | None, url: str, folder: Path) -> list[str]:
    """The command that shows `url` with its files in `folder`. Raises LocalError."""
    names = [chosen] if chosen is not None else [*CHROMIUMS, *FIREFOXES, *OTHERS]
    for name in names:
        try:
            path = command.find(name)
        except LocalError as error:
            if chosen is not None:
                raise LocalError(f"--browser {error}") from None
            continue
        return [path, *_arguments(Path(name).name, url, folder)]
    raise LocalError("no browser was found: name one with --browser, or give a command behind --")


def _arguments(name: str, url: str, folder: Path) -> Sequence[str]:
    profile = folder / "profile"
    if name in CHROMIUMS:
        return (
            f"--user-data-dir={profile}", "--no-first-run", "--no-default-browser-check", "--disable-sync",
            "--disable-background-networking", "--new-window", url,
        )  # fmt: skip
    if name in FIREFOXES:
        profile.mkdir(mode=0o700, exist_ok=True)
        return ("--no-remote", "--new-instance", "--profile", str(profile), url)
    return (url,)


def own_environment(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """What a program's environment says otherwise, so that its files are in `folder` and its windows still appear."""
    own = {"HOME": str(folder)}
    own |= {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("CONFIG", "CACHE", "DATA", "STATE")}
    if "XAUTHORITY" not in environment and "HOME" in environment:
        own["XAUTHORITY"] = str(Path(environment["HOME"]) / ".Xauthority")
    return own
