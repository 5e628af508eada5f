"""Why a receive tag could not be had: every cause, with the errno that upstream gives, in one table.

None of them hurts the connection: the host then decrypts in software. Codes stand in JSON's why.code.
"""

from __future__ import annotations

from typing import NamedTuple


class Refusal(NamedTuple):
    """One cause. `errno` is the name of what the allocation returns in the kernel; `text` says it to a person."""

    errno: str
    text: str


REFUSALS: dict[str, Refusal] = {
    # ktls_alloc_rcv_tag, in its order. It refuses at once what it could not re-encrypt, which is all but AES-GCM.
    "profile": Refusal("ENXIO", "The NIC profile does not take this suite or version; the host decrypts"),
    "not_permitted": Refusal("ENXIO", "kern.ipc.tls.ifnet.permitted is 0; the host decrypts"),
    "no_route": Refusal("ENXIO", "There is no route back to the peer, hence no interface; the host decrypts"),
    # the interface, and what it hands the request on to
    "no_capability": Refusal(
        "EOPNOTSUPP", "The interface has not RXTLS4 or RXTLS6, or it is disabled; the host decrypts"
    ),
    "vlan_stacked": Refusal("EOPNOTSUPP", "A VLAN over a VLAN takes no receive tag; the host decrypts"),
    "lagg_protocol": Refusal(
        "EOPNOTSUPP", "This LAGG protocol, or its lack of a flow hash, names no port; the host decrypts"
    ),
    "lagg_no_port": Refusal("EOPNOTSUPP", "No port of the LAGG is up; the host decrypts"),
    # the driver
    "device_gone": Refusal("EOPNOTSUPP", "The interface is gone; the host decrypts"),
    "no_receive_tag": Refusal("ENOMEM", "The bound on receive tags was met; the host decrypts"),
    "command_queue": Refusal("ENOMEM", "The NIC's command queue was full; the host decrypts"),
    "no_flow_rule": Refusal("ENOMEM", "The table of flow rules was full; the host decrypts"),
}

# Causes that stood before ktls_alloc_rcv_tag had an interface (tls->rx_ifp): no path change can be seen without one.
WITHOUT_INTERFACE = frozenset({"profile", "not_permitted", "no_route"})

# Why there is no receive tag, where a path change tries again. A device that has stopped is left for another one.
TRIED_AGAIN = REFUSALS.keys() - WITHOUT_INTERFACE | {"auth_failures"}
