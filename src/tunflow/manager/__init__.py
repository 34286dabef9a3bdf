"""Profiles, the tunnels made of them, and what decides when they run."""
