import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.consoleauth.sealing import seal, unseal
from rfbproxy.errors import StoreError

TOKEN = "8f14e45f-ceea-467f-a2b5-1d1a4b1f0c11"
ANY_STR = st.text(st.characters(codec=None, exclude_categories=()))


@given(ANY_STR, st.binary())
def test_what_was_sealed_is_unsealed(token, plaintext):
    assert unseal(token, seal(token, plaintext)) == plaintext


def test_the_form_is_fixed():
    sealed = seal(TOKEN, b"geheim", lambda size: bytes(range(size)))
    assert sealed == bytes.fromhex(
        "01"  # version
        "000102030405060708090a0b0c0d0e0f"  # salt
        "000102030405060708090a0b"  # nonce
        "88a58f6edb3f"  # ciphertext
        "003b9e44e5dac20511972881b104fd55"  # tag
    )


def test_salt_and_nonce_are_new_each_time():
    first, second = seal(TOKEN, b""), seal(TOKEN, b"")
    assert first[1:17] != second[1:17]
    assert first[17:29] != second[17:29]


def test_another_token_does_not_open_it():
    with pytest.raises(StoreError, match="another token"):
        unseal(TOKEN[:-1] + "0", seal(TOKEN, b"geheim"))


def test_every_flipped_bit_is_noticed():
    sealed = seal(TOKEN, b"x")
    for position in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(StoreError):
            unseal(TOKEN, bytes(damaged))


def test_every_cut_is_noticed():
    sealed = seal(TOKEN, b"geheim")
    for size in range(len(sealed)):
        with pytest.raises(StoreError, match=r"cut short|damaged"):
            unseal(TOKEN, sealed[:size])


def test_an_unknown_version_is_named():
    with pytest.raises(StoreError, match="version 2, known here is 1"):
        unseal(TOKEN, b"\x02" + seal(TOKEN, b"")[1:])


@given(st.binary(max_size=80))
def test_random_bytes_raise_nothing_else(sealed):
    with pytest.raises(StoreError):
        unseal(TOKEN, sealed)
