"""Stream and datagram codecs of the proxy protocols, and the links that name their servers; pure."""
