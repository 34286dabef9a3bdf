"""Chromium, driven by its DevTools protocol: pages, keys, and what they make of a page. Nothing leaves loopback."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

PATIENCE = 60.0
"""Seconds for anything."""


class Browser:
    """One Chromium with one page, its profile in `folder`."""

    def __init__(self, folder: Path) -> None:
        command = [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={folder}",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ]
        command += ["--remote-debugging-port=0", "--hide-scrollbars", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        told = folder / "DevToolsActivePort"
        until(lambda: told.exists() and told.read_text().count("\n") >= 1)
        port = int(told.read_text().splitlines()[0])
        pages = httpx.get(f"http://127.0.0.1:{port}/json/list", trust_env=False).json()
        target = next(each for each in pages if each["type"] == "page")["webSocketDebuggerUrl"]
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._number = 0
        self._text = ""
        path = target.split(f":{port}", 1)[1]
        self._socket.sendall(self._connection.send(Request(host=f"127.0.0.1:{port}", target=path)))
        while not any(isinstance(event, AcceptConnection) for event in self._events()):
            pass
        self.do("Page.enable")

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        self._number += 1
        message = json.dumps({"id": self._number, "method": method, "params": parameters})
        self._socket.sendall(self._connection.send(TextMessage(data=message)))
        while True:
            for event in self._events():
                if not isinstance(event, TextMessage):
                    continue
                self._text += event.data
                if event.message_finished:
                    answer, self._text = json.loads(self._text), ""
                    if answer.get("id") == self._number:
                        assert "error" not in answer, answer
                        return dict(answer["result"])

    def open(
        self, url: str, *, width: int = 1000, height: int = 640, dark: bool = False, language: str = "en-US"
    ) -> None:
        """Open a page in a window of that size."""
        self.do(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.do("Emulation.setEmulatedMedia", features=[scheme])
        self.do("Emulation.setUserAgentOverride", userAgent="test", acceptLanguage=language)
        self.do("Page.navigate", url="about:blank")
        self.do("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def ask(self, script: str) -> Any:
        """What an expression is worth in the page."""
        answer = self.do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script: str) -> None:
        """Wait for an expression to be true."""
        until(lambda: bool(self.ask(script)))

    def press(self, key: str, code: int, text: str = "") -> None:
        """A key, by its name and number."""
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            self.do("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **typed)

    def tab_to(self, script: str) -> None:
        """Press Tab until what has the focus (`at`) fits the expression."""
        for _ in range(60):
            self.press("Tab", 9)
            if self.ask(f"(at => Boolean({script}))(document.activeElement)"):
                return
        raise AssertionError(f"no Tab leads to {script}")

    def enter(self) -> None:
        """The Enter key."""
        self.press("Enter", 13, "\r")

    def picture(self, path: Path) -> None:
        """Write what is seen as a PNG."""
        path.write_bytes(base64.b64decode(self.do("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.terminate()
        self._process.wait(PATIENCE)

    def _events(self) -> list[Any]:
        self._connection.receive_data(self._socket.recv(1 << 16) or None)
        return list(self._connection.events())


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "did not happen"
        os.sched_yield()
