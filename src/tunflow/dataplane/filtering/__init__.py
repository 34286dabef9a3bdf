"""Owns the content filter on a driver's flows: they are shown to a provider, and held, let go or ended as it says.

What a filter may say is `tunflow.providers`; what the built-in one decides by is `tunflow.filter`.
"""
