"""The Shadowsocks AEAD edition (SIP004, SIP007): stream and datagram codecs for both sides; pure."""
