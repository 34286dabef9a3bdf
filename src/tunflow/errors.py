"""What can go wrong, and whose fault it is.

`LocalError` is the caller's or the configuration's fault: one line that names what is wrong and what is
accepted; the command line prints it and exits with status 2. `RemoteError` is the far side's fault: the flow it
belongs to ends as it would without us, and the process goes on. Any other exception is a bug in tunflow.
"""


class TunflowError(Exception):
    """The root of every error that tunflow raises on purpose."""


class LocalError(TunflowError):
    """The caller or the configuration is wrong; `str()` is one line fit for a user."""

    exit_status = 2


class RemoteError(TunflowError):
    """The far side misbehaved or is down."""


class BadPacket(RemoteError):
    """Bytes from the network are not what their format demands; the only error of an `_untrusted` function."""
