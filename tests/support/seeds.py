"""Known bugs as changes to our own code: what is there, what the bug would have there, and the test that notices.

`old` stands exactly once in its file. tests/test_seeded_bugs.py makes each change in a copy of the source and runs the
test, which has to fail. CANNOT are the classes that cannot exist here, with the reason.
"""

from __future__ import annotations

from typing import NamedTuple


class Seed(NamedTuple):
    """One bug. `test` is a pytest node, or a file with -k behind a blank."""

    name: str
    file: str  # under src/rxtls
    old: str
    new: str
    test: str


CLASSES = "tests/test_bug_classes.py"
TRAPS = "tests/test_traps.py"
SOCKET = "tests/host/test_socket.py"
WORKER = "tests/host/test_worker.py"
BUFFER = "tests/host/test_sockbuf.py"
REASSEMBLY = "tests/host/test_reassembly.py"
DIRECTION = "tests/host/test_direction.py"
PATHS = "tests/test_path_change.py"
TREE = "tests/offload/test_interface.py"


def _class(n: int, file: str, old: str, new: str) -> Seed:
    return Seed(f"class {n}", file, old, new, f"{CLASSES} -k class_{n}_")


def _trap(n: int, file: str, old: str, new: str, test: str) -> Seed:
    return Seed(f"trap {n}", file, old, new, f"{test} -k trap_{n}_")


SEEDS: tuple[Seed, ...] = (
    _class(1, "device/lro.py", "            and run.mark == mark\n", ""),
    _class(2, "offload/mbuf.py", "            self.mark,\n            self.leaf,\n", "            0,\n            self.leaf,\n"),
    _class(3, "host/worker.py", "all(mbuf.mark == mark for mbuf in chain)", "True"),
    _class(4, "host/sockbuf.py", "        if len(first) >= length:\n", "        if first:\n"),
    _class(5, "crypto/recrypt.py", "undone[start - first : end - first]", "undone[0 : end - start]"),
    _class(6, "host/worker.py", "min(at + len(mbuf.data), end)", "at + len(mbuf.data)"),
    _class(7, "host/sockbuf.py", "            if size > length:\n", "            if size > length + 100_000:\n"),
    _class(8, "host/sockbuf.py", "mbuf.cut(length, size)", "mbuf.cut(min(2 * length, size), size)"),
    _class(9, "host/flow.py", "_CLASS[outcome.state] if opened", "_CLASS[outcome.state] if opened and outcome.state"),
    _class(10, "offload/policies/linux_async.py", "number - (counted - after)", "number - counted"),
    _class(11, "offload/receive_tag.py", "if self._asked > PATIENCE:", "if self._asked < 0:"),
    _class(12, "offload/commands.py", "    TRACKING = 1\n    SEARCHING = 2\n", "    TRACKING = 2\n    SEARCHING = 1\n"),
    _class(13, "device/engine.py", "if context.state != TRACKING or context.anchor != tcp_sn:", "if context.anchor != tcp_sn:"),
    _class(14, "offload/receive_tag.py", "            self.polls_refused += 1\n            self._unanswered()\n", "            self.polls_refused += 1\n"),
    _class(15, "driver/driver.py", '"device_gone"\n            self.uninstall(flow, side)\n', '"device_gone"\n'),
    _class(16, "host/worker.py", "        for epoch in self.epochs.keys() - live:\n", "        for epoch in list(self.epochs):\n"),
    _class(17, "host/reassembly.py", "        at = max(start, self.next)\n", "        at = start\n"),
    _class(20, "host/flow.py", "session.fatal and not direction.fatal:", "not session:"),
    _class(21, "host/socket/socket.py", "            if last:\n", "            if last and data:\n"),
    _class(22, "host/socket/socket.py", "        if not flags & Msg.PEEK:\n            head.begun", "        if True:\n            head.begun"),
    _class(23, "host/worker.py", "        if not sockbuf.tlsdcc:\n            return None", "        if False:\n            return None"),
    _class(25, "host/worker.py", "(sockbuf.start_seq + offsets[-1])", "(sockbuf.start_seq + offsets[0])"),
    _class(26, "wire/link_layer.py", "        vlan.append(control & 0x0FFF)\n        at += 4\n", "        vlan.append(control & 0x0FFF)\n        at += 2\n"),
    _class(27, "offload/policies/freebsd_table.py", "number + ahead // length if ahead % length == 0 else None", "number + ahead // length"),
    _class(28, "host/worker.py", "recrypt(epoch.keys, ", "recrypt(self.keys, "),
    _class(29, "device/engine.py", 'return b"".join(out) if good else None', 'return b"".join(out)'),
    _class(31, "host/socket/socket.py", "        if self._early or self._direction:\n", "        if self._early:\n"),
    _class(33, "host/socket/socket.py", "return max(free, min(sockbuf.missing(), MAX_PLAINTEXT + 512))", "return free"),
    _class(34, "offload/policies/next_hint.py", "            self._reset = True\n        elif", "            pass\n        elif"),
    _class(35, "offload/policies/freebsd_table.py", "        self._pending = False\n        if answer.tracker", "        if answer.tracker"),
    Seed("upstream: leaf of the first header", "host/direction.py", "                self.leaf = changed.leaf\n",
         "                self.leaf = self.leaf if self.leaf is not None else changed.leaf\n",
         f"{CLASSES} -k upstream_bug_the_leaf"),
    Seed("upstream: a length byte is the type of zeros", "crypto/records.py", "    content_and_type = bytes(data[start:end])",
         "    content_and_type = bytes(data[max(0, start - 5) : end])", f"{CLASSES} -k upstream_bug_a_length"),
    Seed("upstream: capability index for a mask", "offload/interface.py", "    return 1 << index\n", "    return index\n",
         f"{TREE} -k bug_capability"),
    Seed("upstream: VLANs without RXTLS", "offload/interface.py", "            mask &= self.enabled(self[interface.parent])",
         "            mask = 0", f"{TREE} -k bug_vlan"),
    Seed("upstream: a live receive tag in software mode", "driver/driver.py", '        direction.mode = "ifnet"\n', "",
         f"{PATHS} -k a4_a_first"),
    Seed("upstream: a change during a reset is lost", "driver/driver.py", "    if direction.receive_tag is not None:\n        return direction.tried",
         "    if direction.receive_tag is not None and direction.receive_tag.life < 2:\n        direction.tried = direction.leaf or 0\n"
         "        return False\n    if direction.receive_tag is not None:\n        return direction.tried",
         f"{PATHS} -k bug_a_change_during"),
    _trap(1, "host/sockbuf.py", "                chain[0] = mbuf.cut(length, size)\n",
          "                chain[0] = mbuf.cut(length, size)\n                chain[0].mark = 0\n", BUFFER),
    _trap(2, "host/worker.py", "all(mbuf.mark == mark for mbuf in chain)", "all(mbuf.mark == mark for mbuf in chain[:-1])", WORKER),
    _trap(3, "host/worker.py", "            if state is DECRYPTED:\n", "            if state is not ENCRYPTED:\n", WORKER),
    _trap(4, "crypto/recrypt.py", "_GCM_FIRST_COUNTER = 2 ", "_GCM_FIRST_COUNTER = 1 ", TRAPS),
    _trap(5, "crypto/recrypt.py", "return cipher.encryptor().update(bytes(within) + data)[within:]", "return cipher.encryptor().update(data)", TRAPS),
    _trap(6, "host/sockbuf.py", "            if not length:\n                break\n", "            break\n", BUFFER),
    _trap(7, "device/engine.py", "    if verified:\n", "    verified = True\n    if verified:\n", TRAPS),
    _trap(8, "host/worker.py", "if sockbuf.tlscc < header_length or self.fatal:", "if sockbuf.tlscc < RECORD_HEADER or self.fatal:", WORKER),
    _trap(9, "crypto/records.py", "        check_size(keys, record)\n        end = ", "        end = ", WORKER),
    _trap(10, "crypto/records.py", "    if at < start or not data[at]:  #", "    if at < start:  #", WORKER),
    _trap(11, "crypto/records.py", "    return Opened(data[at], bytes(data[start:at]))\n", "    return Opened(23, bytes(data[start:at]))\n", WORKER),
    _trap(12, "host/worker.py", "        self.number += 1\n        self.ordinal += 1\n        chain = sockbuf.detach(total)\n",
          "        chain = sockbuf.detach(total)\n", SOCKET),
    _trap(13, "host/worker.py", 'return f"EMSGSIZE: a record of {total} bytes"', "return None", SOCKET),
    _trap(14, "host/socket/socket.py", "        if not self._queue:\n            return self._raw_read(size, flags)\n",
          "        if not self._queue or self.so_error:\n            return self._raw_read(size, flags)\n", SOCKET),
    _trap(15, "host/direction.py", "        if self.fatal:\n            return \"byte.after_error\"\n", "", SOCKET),
    _trap(16, "host/sockbuf.py", "        self.tlsdcc = 0  # the worker notices", "        pass  # the worker notices", SOCKET),
    _trap(17, "host/reassembly.py", "(self._next_seq + len(piece.data)) & MASK", "self._next_seq + len(piece.data)", REASSEMBLY),
    _trap(18, "host/sockbuf.py", "        self.end_seq = (mbuf.seq + length) & MASK\n",
          "        self.end_seq = (mbuf.seq + length + (mbuf.flags & 1)) & MASK\n", DIRECTION),
    _trap(19, "host/reassembly.py", "            missing = sum(len(piece.data) for _, piece in pieces)\n",
          "            missing = sum(len(piece.data) for _, piece in pieces)\n"
          "            for held in self.held[max(bisect_right(self._starts, at) - 1, 0) : bisect_left(self._starts, end)]:\n"
          "                held.mark = mbuf.mark\n", REASSEMBLY),
    _trap(20, "device/engine.py", "    if ahead < 0:\n        return None\n", "    if ahead < 0:\n        _lose(context, moment)\n        return None\n", TRAPS),
    _trap(21, "host/sockbuf.py", "        self._chain.append(mbuf)\n",
          "        if self._chain:\n            last = self._chain[-1]\n            last.data += mbuf.data\n"
          "            last.arrivals.append((len(last.data), *mbuf.arrivals[-1][1:]))\n        else:\n"
          "            self._chain.append(mbuf)\n", BUFFER),
    _trap(22, "device/lro.py", "        runs, self._closed = self._closed, []\n", "        runs, self._closed = self._closed[::-1], []\n", TRAPS),
    _trap(23, "host/worker.py", "self.number + len(offsets) - 1\n", "self.number\n", WORKER),
    _trap(24, "offload/policies/freebsd_table.py", "if not self._runs or report.tcp_sn != self._next_sn:", "if not self._runs:", TRAPS),
    _trap(25, "offload/policies/freebsd_table.py", "if not self._table.active or self._pending:", "if not self._table.active:", TRAPS),
    _trap(26, "offload/policies/freebsd_table.py", "        return [] if number is None else",
          "        if number is None:\n            self._table = RecordTable()\n        return [] if number is None else", TRAPS),
    _trap(27, "offload/policies/freebsd_table.py", "        return [] if number is None else [Confirm(answer.epoch, answer.hw_resync_tcp_sn, number)]\n",
          "        return [Confirm(answer.epoch, answer.hw_resync_tcp_sn, number or 0)]\n", TRAPS),
    _trap(28, "device/engine.py", "    return _mark(context, seq, data, out) if at == 0 else None\n", "    return _mark(context, seq, data, out)\n", TRAPS),
    _trap(29, "offload/policies/freebsd_table.py", "                self._start_number += count\n", "                self._start_number += 1\n", TRAPS),
    _trap(30, "offload/interface.py", "IFCAP2_RXTLS4, IFCAP2_RXTLS6 = 0, 1", "IFCAP2_RXTLS4, IFCAP2_RXTLS6 = 1, 2", TREE),
    _trap(31, "driver/driver.py", "            self.uninstall(flow, side)\n            direction.new_keys = not",
          "            direction.new_keys = not", TRAPS),
    _trap(33, "host/socket/socket.py", "if sockbuf.tls and not sockbuf.acc and not", "if sockbuf.tls and not sockbuf.ccc and not", SOCKET),
    _trap(34, "host/sysctl.py", 'enable: bool = field(default=True, metadata={"name": "kern.ipc.tls.enable"})',
          'enable: bool = field(default=False, metadata={"name": "kern.ipc.tls.enable"})', SOCKET),
    _trap(35, "host/worker.py", "            if mark == WIRE:\n", "            if mark == WIRE and not self.epochs:\n", WORKER),
    _trap(36, "driver/driver.py", "        host.give(tag.ipv6)\n", "", TRAPS),
)  # fmt: skip

CANNOT: dict[str, str] = {
    "class 18": "a pointer into a queue that TCP has compacted: there are no pointers, and a queue holds its Mbufs",
    "class 19": "data that another reader takes under the socket: only the worker can take bytes off the TLS chain",
    "class 24": "an optimistic zero-copy retry: nothing is decrypted into the reader's memory",
    "class 30": "a decrypted packet that is forwarded or captured: there is no way out of the path but records, and the "
    "frames' bytes are never written to (bytes of Python cannot be; the compiled engine has an arena of its own)",
    "class 32": "an allocation that fails in one place and is forgotten: MemoryError ends the run",
    "upstream: the report reads the receive tag without lock": "one thread serves a path",
    "trap 32": "decryption into received buffers: Python's bytes cannot be written to",
}
