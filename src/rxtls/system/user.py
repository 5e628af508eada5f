"""Going on as another user, once what needs privileges is open."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

from rxtls.errors import UsageError
from rxtls.system.files import Name

_NO_NEW_PRIVILEGES = 38


def go_on_as(user: str, outputs: Iterable[Name] = (), keys: Name | None = None) -> None:
    """Become `user` for good: no privilege comes back, not even by running a program (PR_SET_NO_NEW_PRIVS, prctl(2)).

    UsageError if that cannot be, and if that user could not write `outputs`, which take their names when they are
    whole, or read a key log that is there: better now than at the end.
    """
    import grp
    import pwd

    try:
        who = pwd.getpwnam(user)
    except KeyError:
        raise UsageError(f"there is no user {user}") from None
    try:
        os.setgroups([each.gr_gid for each in grp.getgrall() if user in each.gr_mem])
        os.setgid(who.pw_gid)
        os.setuid(who.pw_uid)
    except PermissionError:
        raise UsageError(f"becoming {user} needs root") from None
    ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    for each in outputs:
        folder = os.path.abspath(each) if os.path.isdir(each) else os.path.dirname(os.path.abspath(each))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UsageError(f"{os.fspath(each)}: {user} may not write to {folder}")
    if keys is not None and os.path.exists(keys) and not os.access(keys, os.R_OK):
        raise UsageError(f"{os.fspath(keys)}: {user} may not read it")
