"""What was chosen in groups, and how their servers did, in a file: a restart of the tunnel goes on with it.

The file is the owner's alone and replaced in one step. It is written when a choice is made and when the tunnel ends;
one that cannot be read or written is told, and costs the memory only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tunflow.errors import LocalError
from tunflow.profiles.atomic_file import write_atomically
from tunflow.rules.groups import Groups
from tunflow.single_values import json_value

LARGEST = 4 << 20
"""Bytes."""


class GroupMemory:
    """The file of one profile's groups; `say` hears what went wrong, once for each thing."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self.path = path
        self._say = say
        self._written: str | None = None
        self._failed = False

    def recall(self, groups: Groups) -> None:
        """Have groups go on as they were left; what does not exist any more is told, and dropped."""
        try:
            with self.path.open("rb") as file:
                content = file.read(LARGEST + 1)
            memory = json_value(content) if len(content) <= LARGEST else None
        except FileNotFoundError:
            return
        except OSError as error:
            self._say(f"what was chosen in groups is not known: cannot read {self.path}: {error.strerror}")
            return
        except ValueError:
            memory = None
        if not isinstance(memory, dict):
            self._say(f"what was chosen in groups is not known: {self.path} is no file of ours")
            return
        gone = groups.recall(memory)
        if gone:
            more = f" and {len(gone) - 5} more" if len(gone) > 5 else ""
            self._say(f"there is no more: {', '.join(gone[:5])}{more}")
            self.keep(groups)

    def keep(self, groups: Groups) -> None:
        """Write what is to be known after a restart, if it is not there already."""
        text = json.dumps(groups.memory(), ensure_ascii=False)
        if text == self._written:
            return
        try:
            write_atomically(self.path, f"{text}\n".encode(), private=True)
        except LocalError as error:
            if not self._failed:
                self._say(f"what is chosen in groups will not be known after a restart: {error}")
            self._failed = True
        else:
            self._written, self._failed = text, False
