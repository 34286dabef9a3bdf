"""The files of a page in a folder: what is in it, and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request

from tunflow.api.page_files import PageFiles


def test_the_files_of_another_page(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    (folder / "deep").mkdir(parents=True)
    (tmp_path / "secret").write_text("not of the page")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "deep" / "index.html").write_text("deep")
    files = PageFiles(folder)

    def asked(path: str) -> tuple[int, bytes, str]:
        request = Request({"type": "http", "path_params": {"path": path}, "headers": []})
        try:
            answer = asyncio.run(files.answer(request))
        except HTTPException as error:
            return error.status_code, b"", ""
        return answer.status_code, bytes(answer.body), answer.headers["content-type"]

    assert asked("deep") == asked("deep/index.html") == (200, b"deep", "text/html; charset=utf-8")
    for path in ("", "out", "../secret", "nothing", "deep/none", "x" * 5000, "/etc/passwd"):
        assert asked(path) == (404, b"", "")
