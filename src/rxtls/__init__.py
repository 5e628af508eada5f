"""rxtls: the TLS receive-offload path in user space.

    import rxtls

    run = rxtls.replay("capture.pcapng", keys="keys.log")
    for record in run:
        print(record.flow, record.receiver, record.type, record.number, record.by, record.time_ns, len(record.data))
    print(run.summary()["flows"][0]["receive"]["server"]["records"])

    rxtls.open("out").records        # what `rxtls replay --out out` wrote

Everything below is made on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rxtls.version import __version__

if TYPE_CHECKING:
    from rxtls.run.options import ReplayOptions
    from rxtls.run.replay import Replay
    from rxtls.study.run import Run

__all__ = ["Replay", "ReplayOptions", "Run", "__version__", "open", "replay"]

Name = str | os.PathLike[str]


def replay(captures: Name | Sequence[Name], keys: Name | Sequence[Name] = (), **options: Any) -> Replay:
    """Replay captures with key logs; iterate over the result for records, then ask it for its `summary()`.

    `options` are the fields of rxtls.run.options.ReplayOptions: profile, policy, receiver, vantage, checksum,
    resegment, filter, digest, settings, engine. Raises rxtls.errors.UsageError and KeyLogError.
    """
    from rxtls.run.options import ReplayOptions
    from rxtls.run.replay import Replay

    return Replay(captures, keys, ReplayOptions(**options))


def open(directory: Name) -> Run:  # noqa: A001
    """The run that `rxtls replay --out` wrote into `directory`, as polars data frames. Raises UsageError."""
    from rxtls.study.run import Run

    return Run(directory)


def __getattr__(name: str) -> Any:
    """`rxtls.Replay` and the types a caller may want to name, imported when asked for."""
    if name == "Replay":
        from rxtls.run.replay import Replay

        return Replay
    if name == "ReplayOptions":
        from rxtls.run.options import ReplayOptions

        return ReplayOptions
    if name == "Run":
        from rxtls.study.run import Run

        return Run
    raise AttributeError(f"module 'rxtls' has no attribute {name!r}")
