"""Measurements of tunflow beside the limit and beside its peers: `python -m bench`."""
