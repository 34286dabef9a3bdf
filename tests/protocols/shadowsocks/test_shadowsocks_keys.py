from __future__ import annotations

from tunflow.protocols.shadowsocks.keys import master_key, subkey


def test_master_key_of_known_passwords():
    # Found in several implementations' tests, e.g. shadowsocks-go: EVP_BytesToKey("barfoo!", 32).
    assert master_key("barfoo!", 32).hex() == "b3adc47839e047eb228870526dc8fc30b347287ffca3045dcea06b3fdf090acb"
    assert master_key("test", 16).hex() == "098f6bcd4621d373cade4e832627b4f6"  # MD5("test")
    assert master_key("test", 32).hex() == "098f6bcd4621d373cade4e832627b4f60a9172716ae6428409885b8b829ccb05"


def test_shorter_master_key_is_a_prefix():
    assert master_key("test", 24) == master_key("test", 32)[:24]


def test_password_counts_as_utf8():
    assert master_key("pässwörd", 16).hex() != master_key("password", 16).hex()


def test_subkey(vector):
    assert subkey(vector.key, vector.salt) == vector.subkey
