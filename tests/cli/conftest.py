import pytest

from tests.proxy_process import Proxy


@pytest.fixture
def store(tmp_path):
    return Proxy(tmp_path)
