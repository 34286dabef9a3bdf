"""Runs providers: their flows and packets on a driver's parts, their connections, and what contains them."""
