"""Owns how names are answered: the name server of a tunnel, and what asks resolvers for it by each transport.

What messages say and which answer is believed is `tunflow.dns`, without I/O.
"""
