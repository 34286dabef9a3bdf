"""What is said of servers that take flows and send nothing: so does one that cannot decrypt what it gets."""

from __future__ import annotations

SILENCE = 10.0
"""Seconds after which a server that has not sent a byte is mentioned."""

SENT_NOTHING = f"took connections but has sent nothing for {SILENCE:.0f} s"


def password_advice(label: str, what: str) -> str:
    """The line for the user about a server that did `what`."""
    return (
        f"the server {label} {what}; if this goes on, check the password and method "
        "(a server does not answer what it cannot decrypt)"
    )
