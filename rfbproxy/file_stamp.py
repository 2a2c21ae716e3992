"""Whether a file is still the one that was read."""

from pathlib import Path


def stamp(file: Path) -> tuple[int, ...] | None:
    """What changes when a file is written or replaced; None: it cannot be looked at."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
