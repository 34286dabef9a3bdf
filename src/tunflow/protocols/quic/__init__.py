"""QUIC connections whose streams and datagrams many flows share: what Hysteria2 and TUIC stand on."""
