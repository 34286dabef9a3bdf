"""Owns how names are answered: the name server of a tunnel, what asks resolvers for it by each transport, and the small
forwarder of one resolver.

What messages say and which answer is believed is `tunflow.dns`, without I/O.
"""
