"""Reads the vectors that `rxtls vectors --out DIR` wrote, and holds a device to them. Nothing of rxtls is imported.

    python read_vectors.py DIR [NAME...]

`Device` is where yours goes. This one decrypts nothing: packets that are to stay as on the wire are held against their
digests, and those that were to be decrypted are counted.
"""

import hashlib
import json
import struct
import sys
from pathlib import Path


class Device:
    """What a device is told: the steps of a vector, as they stand in the JSON."""

    def tell(self, step):  # noqa: ARG002
        """An install, query, confirm, set_position or release. Gives back what the device says."""
        return []

    def packet(self, step, payload):  # noqa: ARG002
        """A packet: its payload as it comes out, and whether it is decrypted."""
        return payload, False


def frames(path):
    """The frames of a pcapng, as bytes."""
    data, order, at = path.read_bytes(), "<", 0
    while at < len(data):
        if data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
        kind, length = struct.unpack_from(order + "II", data, at)
        if kind == 6:  # an enhanced packet block
            (captured,) = struct.unpack_from(order + "I", data, at + 20)
            yield data[at + 28 : at + 28 + captured]
        at += length


def payload_of(frame):
    """TCP sequence number of the first byte, and payload: Ethernet, IPv4, TCP."""
    ip = frame[14:]
    ip = ip[: int.from_bytes(ip[2:4])]
    tcp = ip[(ip[0] & 15) * 4 :]
    return int.from_bytes(tcp[4:8]), tcp[(tcp[12] >> 4) * 4 :]


def check(folder, name):
    """Play one vector. What is counted."""
    vector = json.loads((folder / f"{name}.json").read_text())
    captured = list(frames(folder / vector["capture"]))
    device, seen = Device(), {"packets": 0, "right": 0, "not decrypted": 0, "wrong": 0, "commands": 0}
    for step in vector["steps"]:
        if step["step"] != "packet":
            device.tell(step)
            seen["commands"] += 1
            continue
        seq, payload = payload_of(captured[step["frame"]])
        if (seq, len(payload)) != (step["seq"], step["length"]):
            raise SystemExit(f"{name}: frame {step['frame']} is not the packet of the step")
        out, decrypted = device.packet(step, payload)
        right = decrypted == step["decrypted"] and hashlib.sha256(out).hexdigest() == step["sha256"]
        seen["packets"] += 1
        seen["right" if right else "not decrypted" if step["decrypted"] and not decrypted else "wrong"] += 1
    return seen


def main(folder, *names):
    """Play vectors, all by default. The exit status: 1 if something was wrong."""
    folder, wrong = Path(folder), 0
    for name in names or json.loads((folder / "manifest.json").read_text())["vectors"]:
        seen = check(folder, name)
        wrong += seen["wrong"]
        print(f"{name:16}", ", ".join(f"{n} {what}" for what, n in seen.items()))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
