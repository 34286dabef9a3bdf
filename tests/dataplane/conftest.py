"""Puts this folder on the import path, pytest's way: the rigs in it serve the tests of the folders below, too."""
