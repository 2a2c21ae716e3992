import pytest

from rfbproxy.config import Config
from rfbproxy.consoleauth.token_file import TokenFile
from rfbproxy.errors import StoreError
from rfbproxy.store_options import open_store


def test_a_store_that_cannot_be_opened_is_closed(tmp_path, monkeypatch):
    file = tmp_path / "nova.conf"
    file.write_text(f"[DEFAULT]\nstate_path = {tmp_path}/state\n[consoleauth]\nconnection = file://{tmp_path}/none\n")
    closed = []
    monkeypatch.setattr(TokenFile, "close", lambda store: closed.append(store))
    with pytest.raises(StoreError, match="No such file"):
        open_store(Config([str(file)]))
    assert len(closed) == 1
