"""What all tests share: the repository's root on the import path, for `bench.netlab`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
