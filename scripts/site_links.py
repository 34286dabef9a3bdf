"""A hook of the manual's site: links to files outside of docs/ are words there, and the files must exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: object) -> str:
    """Called by mkdocs. Raises FileNotFoundError for a link that leads nowhere."""
    folder = Path(page.file.abs_src_path).parent
    docs = Path(config.docs_dir)

    def words(found: re.Match[str]) -> str:
        target = (folder / found[2]).resolve()
        if target.is_relative_to(docs):
            return found[0]
        if not target.exists():
            raise FileNotFoundError(f"{page.file.src_path}: {found[2]} is not there")
        return found[1]

    return _LINK.sub(words, markdown)
