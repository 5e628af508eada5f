"""rxtls: the TLS receive-offload path in user space.

    import rxtls

    run = rxtls.replay("capture.pcapng", keys="keys.log")
    for record in run:
        print(record.flow, record.receiver, record.type, record.number, record.by, record.time_ns, len(record.data))
    print(run.summary()["flows"][0]["receive"]["server"]["records"])

Everything below is made on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rxtls.version import __version__

if TYPE_CHECKING:
    from rxtls.edge.replay import Replay, ReplayOptions

__all__ = ["Replay", "ReplayOptions", "__version__", "replay"]

Name = str | os.PathLike[str]


def replay(captures: Name | Sequence[Name], keys: Name | Sequence[Name] = (), **options: Any) -> Replay:
    """Replay captures with key logs; iterate over the result for records, then ask it for its `summary()`.

    `options` are the fields of rxtls.edge.replay.ReplayOptions: profile, policy, receiver, vantage, checksum,
    resegment, filter, digest, settings, engine. Raises rxtls.errors.UsageError and KeyLogError.
    """
    from rxtls.edge.replay import Replay, ReplayOptions

    return Replay(_several(captures), _several(keys), ReplayOptions(**options))


def _several(names: Name | Sequence[Name]) -> list[Name]:
    return [names] if isinstance(names, str | os.PathLike) else list(names)


def __getattr__(name: str) -> Any:
    """`rxtls.Replay` and the types a caller may want to name, imported when asked for."""
    if name in ("Replay", "ReplayOptions"):
        from rxtls.edge import replay as module

        return getattr(module, name)
    raise AttributeError(f"module 'rxtls' has no attribute {name!r}")
