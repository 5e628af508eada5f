"""NICs of other people's by name: MODULE:CLASS, FILE.py:CLASS, exec:COMMAND, or what a package brought."""

from __future__ import annotations

from rxtls.device.guest import Device
from rxtls.errors import GuestError, UsageError
from rxtls.run.exec_nic import ExecNic
from rxtls.system.plug import brought, caused, is_plug, plugged

GROUP = "rxtls.nics"  # of entry points by which packages bring NICs
EXEC = "exec:"


def nic(name: str) -> Device:
    """A new NIC, by its name. Raises UsageError, and GuestError for one that cannot be made."""
    if name.startswith(EXEC):
        return ExecNic(name.removeprefix(EXEC))
    if not is_plug(name, GROUP):
        there = ", ".join(brought(GROUP)) or "no package that is installed brings any"
        raise UsageError(f"no NIC {name!r}: it is MODULE:CLASS, FILE.py:CLASS, exec:COMMAND, or a name ({there})")
    made = plugged(name, GROUP, "nic")
    try:
        device: Device = made()
    except Exception as error:
        raise GuestError(f"nic {name}", caused(error), "nothing yet") from None
    return device
