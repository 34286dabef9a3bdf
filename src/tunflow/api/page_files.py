"""The files of a page below `/ui/`, read when they are asked for.

Starlette's own would bring a pool of threads for a handful of small files.
"""

from __future__ import annotations

import mimetypes
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response


class PageFiles:
    """What is in a folder and those below it, links out of it left out; `index.html` stands for its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    async def answer(self, request: Request) -> Response:
        """The file that the path names. Raises HTTPException."""
        path, content = self._read(request.path_params["path"])
        tag = f'"{sha256(content).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return Response(content, media_type=kind, headers=headers)

    def _read(self, name: str) -> tuple[Path, bytes]:
        try:
            path = (self._folder / name).resolve()
            path = path / "index.html" if path.is_dir() else path
            if path.is_relative_to(self._folder):
                return path, path.read_bytes()
        except (OSError, ValueError):  # there is none, or none can be called that
            pass
        raise HTTPException(HTTPStatus.NOT_FOUND)
