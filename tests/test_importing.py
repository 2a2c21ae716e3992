import gc

import pytest

from rfbproxy.importing import importing


@pytest.fixture(autouse=True)
def _unfrozen():
    yield
    gc.unfreeze()


def test_nobody_looks_for_garbage_meanwhile_nor_at_what_is_there_then():
    with importing():
        assert not gc.isenabled()
        kept = [[]]
    assert gc.isenabled()
    assert not any(each is kept for each in gc.get_objects())


def test_what_cannot_be_imported_changes_nothing():
    with pytest.raises(ImportError), importing():
        raise ImportError
    assert gc.isenabled()
