"""Imports that take so long that somebody waits for them."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Do without the garbage collector, which takes a tenth of the time that imports take, and finds nothing then.

    Nor does it look at what is there by the end of this ever again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
