"""GLib, which virt-viewer reads its files with, reads what was meant."""

import ctypes

from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.secret import Secret
from rfbproxy.viewer_file import ViewerFile

GLIB = ctypes.CDLL("libglib-2.0.so.0")
GLIB.g_key_file_new.restype = ctypes.c_void_p
GLIB.g_key_file_get_string.restype = ctypes.c_void_p


def read(text: str, keys: list[str]) -> dict[str, str]:
    """What GLib reads of the keys of a file."""
    file = ctypes.c_void_p(GLIB.g_key_file_new())
    content = text.encode()
    assert GLIB.g_key_file_load_from_data(file, content, ctypes.c_size_t(len(content)), 0, None)
    values = {}
    for key in keys:
        value = ctypes.c_void_p(GLIB.g_key_file_get_string(file, b"virt-viewer", key.encode(), None))
        values[key] = ctypes.string_at(value).decode()
        GLIB.g_free(value)
    GLIB.g_key_file_free(file)
    return values


# What a GKeyFile can hold: what it cannot becomes U+FFFD (tests/test_viewer_file.py)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.sampled_from(" \\\n\r\t[]=#;"))


@given(TEXT, TEXT, TEXT, TEXT, TEXT)
def test_glib_reads_what_was_meant(host: str, password: str, title: str, ca: str, host_subject: str) -> None:
    text = ViewerFile(host, 1, 2, Secret(password), title, ca, host_subject).text()
    expected = {"host": host, "password": password, "title": title, "ca": ca, "host-subject": host_subject}
    expected |= {"type": "spice", "port": "1", "tls-port": "2", "delete-this-file": "1"}
    assert read(text, list(expected)) == expected
