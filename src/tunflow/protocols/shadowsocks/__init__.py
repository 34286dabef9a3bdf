"""Shadowsocks, the AEAD edition (SIP004, SIP007) and that of 2022 (SIP022, SIP023): codecs for both sides; pure."""
