"""Finds out whether other processes serve the site, whom a layer in memory cannot reach.

Each process that serves shares the lock of one file. Only one that is alone could lock it
exclusively.
"""

import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path

from django.conf import settings
from django.db import connection

try:
    import fcntl
except ImportError:  # not on Windows, where WEB_CONCURRENCY alone tells
    fcntl = None  # type: ignore[assignment]


def others_may_serve() -> bool:
    """Return whether another process serves this database, or was configured to."""
    return settings.WORKERS > 1 or shares_lock()


def shares_lock() -> bool:
    """Return whether another process on this machine holds the lock now."""
    if (descriptor := hold_lock()) is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        fcntl.flock(
            descriptor, fcntl.LOCK_SH
        )  # a failed attempt has lost it (flock(2))


@cache
def hold_lock() -> int | None:
    """Share the lock for as long as the process lives; None where it cannot be had."""
    if fcntl is None:
        return None
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(lock_path(), flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except OSError:
        return None
    return descriptor


def lock_path() -> Path:
    """Return the file that all processes with this database lock.

    Not SQLite's own: to close it here would drop the locks that SQLite has on it.
    """
    database = connection.settings_dict
    name = str(database["NAME"])
    if connection.vendor == "sqlite" and "memory" not in name:
        return Path(f"{name}-nodes")
    place = f"{database['HOST']}:{database['PORT']}/{name}"
    digest = hashlib.sha256(place.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"wsdemo-{digest}-nodes"
