"""Masks of payloads (RFC 6455 section 5.3): byte `i` was XORed with byte `i % 4` of the frame's mask.

Short payloads are unmasked many at a time by one XOR of long integers, longer ones in place by Autobahn's NVX, which is
a private module of a dependency and not built everywhere; then four `bytes.translate` do it.
"""

from collections.abc import Callable
from typing import Any

Unmask = Callable[[memoryview, bytes], None]


def xor(payload: bytes, keystream: bytes) -> bytes:
    """XOR two byte strings of the same size."""
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(keystream, "little")
    return masked.to_bytes(len(payload), "little")


_XORED = tuple(bytes(byte ^ key for byte in range(256)) for key in range(256))


def unmask_by_translate(payload: memoryview, mask: bytes) -> None:
    """Unmask in place, each of the mask's four lanes by a table."""
    lanes = bytearray(payload)  # strided writes to a memoryview cost more than both copies
    for lane, key in enumerate(mask):
        lanes[lane::4] = lanes[lane::4].translate(_XORED[key])
    payload[:] = lanes


def by_nvx(ffi: Any, lib: Any) -> Unmask:
    """Make the unmasking of Autobahn's `_nvx_xormasker`, given its two names.

    A mask is set once in the life of NVX's object, so there is one a call: 0.1 µs.
    """
    new, process, free = lib.nvx_xormask_new, lib.nvx_xormask_process, lib.nvx_xormask_free
    from_buffer, array = ffi.from_buffer, ffi.typeof("uint8_t[]")

    def unmask_by_nvx(payload: memoryview, mask: bytes) -> None:
        masker = new(mask)
        try:
            process(masker, from_buffer(array, payload), len(payload))
        finally:
            free(masker)

    return unmask_by_nvx


def choose() -> Unmask:
    """NVX if it is there and does what it is known for."""
    try:
        from _nvx_xormasker import ffi, lib

        unmask_by_nvx = by_nvx(ffi, lib)
        probe = bytearray(b"\x7f\x9f\x4d\x51\x58")  # "Hello" of RFC 6455 section 5.7
        unmask_by_nvx(memoryview(probe), b"\x37\xfa\x21\x3d")
    except (ImportError, AttributeError, TypeError):
        return unmask_by_translate
    return unmask_by_nvx if probe == b"Hello" else unmask_by_translate


unmask: Unmask = choose()
