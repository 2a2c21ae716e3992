import pytest
from _nvx_xormasker import ffi, lib
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.websocket import masks


def plainly(payload, mask):
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def in_place(unmask, payload, mask):
    """Unmask the middle of a buffer, whose edges must stay."""
    buffer = bytearray(b"<<<" + payload + b">>>")
    unmask(memoryview(buffer)[3 : 3 + len(payload)], mask)
    assert buffer[:3] == b"<<<"
    assert buffer[3 + len(payload) :] == b">>>"
    return bytes(buffer[3:-3])


payloads = st.binary(max_size=300) | st.binary(min_size=1000, max_size=5000)
four_bytes = st.binary(min_size=4, max_size=4)


@given(payloads, four_bytes)
def test_all_ways_to_unmask_agree(payload, mask):
    expected = plainly(payload, mask)
    assert masks.xor(payload, (mask * (len(payload) // 4 + 1))[: len(payload)]) == expected
    assert in_place(masks.unmask_by_translate, payload, mask) == expected
    assert in_place(masks.by_nvx(ffi, lib), payload, mask) == expected
    assert in_place(masks.unmask, payload, mask) == expected


def test_nvx_is_chosen_where_it_is_built():
    assert masks.unmask is not masks.unmask_by_translate


class Broken:
    """An NVX that masks nothing."""

    nvx_xormask_new = nvx_xormask_free = staticmethod(lambda _: None)
    nvx_xormask_process = staticmethod(lambda *_: None)


class Changed:
    """An NVX with an argument more."""

    nvx_xormask_new = nvx_xormask_free = staticmethod(lambda _: None)
    nvx_xormask_process = staticmethod(lambda masker, data, length, more: None)


class Module:
    def __init__(self, **names):
        vars(self).update(names)


@pytest.mark.parametrize(
    "module",
    [None, Module(), Module(ffi=ffi, lib=object()), Module(ffi=ffi, lib=Broken()), Module(ffi=ffi, lib=Changed())],
    ids=["missing", "empty", "other names", "no effect", "other arguments"],
)
def test_an_nvx_that_is_not_what_it_was_is_not_used(module, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "_nvx_xormasker", module)
    assert masks.choose() is masks.unmask_by_translate


def test_nvx_frees_its_object_even_if_it_fails():
    freed = []

    class Failing:
        nvx_xormask_new = staticmethod(lambda mask: "object")
        nvx_xormask_free = staticmethod(freed.append)

        @staticmethod
        def nvx_xormask_process(*_):
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        masks.by_nvx(ffi, Failing())(memoryview(bytearray(4)), b"mask")
    assert freed == ["object"]
