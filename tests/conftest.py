"""What all tests share: the repository's root on the import path, for `bench.netlab`, and signals by default.

Who runs the tests in the background of a script has them ignore SIGINT and SIGQUIT, and what they start inherits that.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
