"""The tables of the documentation say what the code says."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))

import make_tables


def test_the_table_of_protocols_is_the_registrys():
    text = make_tables.PAGE.read_text()
    assert make_tables.page(text) == text, "run python scripts/make_tables.py"
