"""What the first bytes of a flow tell: TLS and QUIC hellos and HTTP requests; pure."""
