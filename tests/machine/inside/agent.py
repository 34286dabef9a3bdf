"""Runs inside of the emulated machine: takes commands as lines of JSON from a virtio serial port, and answers so.

`{"argv": [...], "timeout": seconds, "input": text}` → `{"status": n, "out": text, "err": text}`; on start it says
`{"boot": id}`. Standard library only.
"""

import json
import subprocess
from pathlib import Path

PORT = "/dev/virtio-ports/tunflow.agent"


def main() -> None:
    """Serve the port until the machine ends."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with open(PORT, "r+b", buffering=0) as port:  # noqa: PTH123 - unbuffered, both ways
        _say(port, {"boot": boot})
        held = b""
        while data := port.read(65536):
            *lines, held = (held + data).split(b"\n")
            for line in lines:
                _say(port, _done(json.loads(line)))


def _done(order: dict) -> dict:
    try:
        done = subprocess.run(
            order["argv"],
            input=order["input"],
            stdin=None if order["input"] is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=order["timeout"],
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return {
            "status": -1,
            "out": _text(late.stdout),
            "err": f"not done after {order['timeout']} s: {_text(late.stderr)}",
        }
    except OSError as error:
        return {"status": -1, "out": "", "err": str(error)}
    return {"status": done.returncode, "out": done.stdout, "err": done.stderr}


def _text(output: bytes | None) -> str:
    return (output or b"").decode(errors="replace")


def _say(port, answer: dict) -> None:
    data = memoryview(json.dumps(answer).encode() + b"\n")
    while data:
        data = data[port.write(data) :]


if __name__ == "__main__":
    main()
