"""Nothing disappears: every frame, payload byte and record ends in exactly one named fate, with its sentence.

`Ledger.enter` is called where a thing is first seen (the capture walker, the payload of a frame, the record
cut from the stream), `Ledger.fate` where it ends. No fate is ever computed as a remainder, so `balance()` is a check
that can fail: it is the sum over the three kinds of |entered - ended|, zero at the end of every run.

A name is "kind.what". Adding a fate is one line in FATES; `rxtls counters` prints them all.
"""

from __future__ import annotations

from collections import Counter

KINDS = ("frame", "byte", "record")

FATES: dict[str, str] = {
    # frames: what became of each captured frame
    "frame.segment": "Carried TCP payload, SYN, FIN or RST into a receive flow.",
    "frame.segment_cut": "Carried TCP payload into a receive flow, but the snap length cut the end of it off.",
    "frame.ack": "A pure acknowledgement: it moved acknowledgement numbers and windows, and carried nothing.",
    "frame.filtered": "Not matched by --filter.",
    "frame.not_ip": "Neither IPv4 nor IPv6, nor anything around it that is known here: ARP, LLDP and the like.",
    "frame.not_tcp": "IP, but not TCP, nor a tunnel that is known here: UDP, ICMP and the like.",
    "frame.fragment": "A fragment of an IP packet; fragments are counted, not reassembled.",
    "frame.link_type": "The capture's link type is not one that is read here.",
    "frame.bad_link": "Too short for its own link-layer header.",
    "frame.link_error": "The capture says that the link had damaged it (pcapng's epb_flags): a NIC drops such frames.",
    "frame.bad_ip": "An IP header that contradicts itself or the frame's length.",
    "frame.bad_ip_checksum": "The IPv4 header checksum does not verify.",
    "frame.bad_tcp": "A TCP header that contradicts itself or the packet's length.",
    "frame.bad_checksum": "The TCP checksum is wrong and nothing excuses it: no NIC would pass it to its crypto.",
    "frame.cut_header": "The snap length cut the frame inside its headers.",
    "frame.mirrored": "The same packet seen again on another interface, VLAN depth, link type or tunnel within 10 ms.",
    "frame.stray_reset": "A RST of no connection that anything else was seen of: there is no flow to carry it into.",
    "frame.quic": "QUIC, which is TLS 1.3 over UDP and is not read here.",
    "frame.dtls": "DTLS, which is TLS over UDP and is not read here.",
    "frame.vxlan": "On VXLAN's port, without a VXLAN header that says what is inside.",
    "frame.geneve": "On Geneve's port, without a Geneve header that says what is inside.",
    "frame.gre": "GRE or ERSPAN that carries something else than Ethernet, IP or MPLS.",
    "frame.ip_in_ip": "EtherIP of a version that is not known.",
    "frame.gtp": "GTP-U, mobile networks' tunnel, which is not read here.",
    "frame.l2tp": "L2TP, which is not read here.",
    "frame.teredo": "Teredo (IPv6 over UDP), which is not read here.",
    "frame.tzsp": "TZSP, a mirror's tunnel, which is not read here.",
    "frame.lisp": "LISP, which is not read here.",
    "frame.capwap": "CAPWAP, the tunnel of Wi-Fi controllers, which is not read here.",
    "frame.gue": "GUE (Generic UDP Encapsulation), which is not read here.",
    "frame.wireguard": "Encrypted by WireGuard; what it carries cannot be seen.",
    "frame.macsec": "Behind a MACsec header (IEEE 802.1AE), which is not read here.",
    "frame.bridged": "Behind a header not read here: 802.1ah or BR, HSR, TRILL, FabricPath, NSH, CMD, DSA, batman-adv.",
    "frame.esp": "Encrypted by IPsec (ESP); what it carries cannot be seen.",
    "frame.mpls": "Under MPLS labels, and neither IP nor Ethernet.",
    "frame.pppoe": "PPPoE that sets up a session, or carries something else than IP.",
    "frame.tunnel_depth": "More tunnels inside each other than are walked into (8).",
    # bytes: what became of each byte of TCP payload
    "byte.record": "Part of a record that has a record fate.",
    "byte.filtered": "In frames that --filter leaves out.",
    "byte.mirrored": "In second sights of the same packet.",
    "byte.bad_checksum": "In frames whose TCP or IPv4 header checksum is wrong and not excused.",
    "byte.duplicate": "Already received: a retransmission or an overlap; the first accepted copy won.",
    "byte.out_of_window": "Beyond the advertised window, and two more, as the capture may lack acknowledgements.",
    "byte.hold_overflow": "Ahead of a hole when the out-of-order hold met its bound, which ended the direction.",
    "byte.after_gap": "After bytes that the peer acknowledged but the capture lacks, where no record authenticates.",
    "byte.after_hole": "Held out of order behind bytes that never came before the connection or the capture ended.",
    "byte.after_end": "After the end of its connection (FIN, RST, idle or eviction).",
    "byte.after_error": "After a fatal record header error, which ends the record stream of a direction.",
    "byte.after_close": "After the peer's close_notify alert.",
    "byte.interface_gone": "The interface it was received on was detached meanwhile, or is none of the host's.",
    "byte.flushed": "Thrown away unread: the application had shut down receiving on its socket.",
    "byte.left_over": "The beginning of a record whose rest never came.",
    "byte.preamble": "Plaintext before TLS began (STARTTLS, CONNECT, PostgreSQL's SSLRequest), frames of it included.",
    "byte.not_tls": "In a connection in which no TLS handshake was found.",
    "byte.mid_connection": "In a connection whose handshake, or a part of it, is not in the capture.",
    "byte.mid_connection_tls12": "The same of TLS 1.2 and 1.1, whose keys cannot be derived without the handshake.",
    "byte.before_start": "Before the first record that could be opened, where the beginning was not captured.",
    "byte.no_keys": "TLS, but no key log given holds this session's secrets.",
    "byte.keys_wait": "Waiting for keys from a pipe when the bound on waiting bytes was met.",
    "byte.version": "A version that is not offloaded and not opened here (SSL 3.0, TLS 1.0).",
    "byte.suite": "A cipher suite that is not in the table.",
    "byte.compression": "TLS compression was agreed on: what is compressed is not opened here.",
    "byte.server_hello": "TLS 1.2 whose ServerHello is in no capture given, so that keys cannot be derived.",
    "byte.handshake": "In a handshake that could not be followed: malformed, oversized, or never finished.",
    # records: what became of each record cut from the stream
    "record.decrypted": "Decrypted and authenticated in full by the NIC; the host only trimmed it.",
    "record.mixed": "Decrypted in part by the NIC; the host re-encrypted that part and opened the record.",
    "record.encrypted": "Opened by the host in software.",
    "record.failed": "Did not authenticate, or was malformed; discarded.",
    "record.unjudged": "Opened by the host behind a hole in the capture: what the NIC made of it cannot be known.",
    "record.unknown": "Passed over without being opened, because its record number or its bytes are unknown.",
    "record.library": "The TLS library's, before receive was enabled: handshake and early data, read or passed over.",
}

# Counters by the names that FreeBSD gives them, as far as this model has a cause for them (study/metrics.py).
# Gauges of FreeBSD's, as they stood when the input ended: of connections that are over there are none.
GAUGES: dict[str, str] = {
    "kern.ipc.tls.stats.active": "Directions with receive enabled whose connection was still open.",
    "kern.ipc.tls.sw.cbc": "Those decrypted in software, AES-CBC.",
    "kern.ipc.tls.sw.gcm": "Those decrypted in software, AES-GCM.",
    "kern.ipc.tls.sw.chacha20": "Those decrypted in software, ChaCha20-Poly1305.",
    "kern.ipc.tls.ifnet.cbc": "Those offloaded to the NIC, AES-CBC: none, as no NIC takes it.",
    "kern.ipc.tls.ifnet.gcm": "Those offloaded to the NIC, AES-GCM.",
    "kern.ipc.tls.ifnet.chacha20": "Those offloaded to the NIC, ChaCha20-Poly1305: only with a profile that takes it.",
}

UPSTREAM: dict[str, str] = GAUGES | {
    "kern.ipc.tls.stats.enable_calls": "Calls to enable receive on a socket; here, directions whose keys were set.",
    "kern.ipc.tls.stats.offload_total": "Sockets on which receive was enabled.",
    "kern.ipc.tls.stats.corrupted_records": "Record headers that cannot be right, each of which ends its connection.",
    "kern.ipc.tls.stats.failed_crypto": "Records discarded because they did not authenticate.",
    "kern.ipc.tls.stats.ocf.tls11_cbc_decrypts": "Records opened in software, AES-CBC in TLS 1.1 and 1.2.",
    "kern.ipc.tls.stats.ocf.tls12_gcm_decrypts": "Records opened in software, AES-GCM in TLS 1.2; also mixed ones.",
    "kern.ipc.tls.stats.ocf.tls12_gcm_recrypts": "Mixed records whose decrypted part was re-encrypted, likewise.",
    "kern.ipc.tls.stats.ocf.tls13_gcm_decrypts": "Records opened in software, AES-GCM in TLS 1.3; also mixed ones.",
    "kern.ipc.tls.stats.ocf.tls13_gcm_recrypts": "Mixed records whose decrypted part was re-encrypted, likewise.",
    "kern.ipc.tls.stats.ocf.tls12_chacha20_decrypts": "Records opened in software, ChaCha20-Poly1305 in TLS 1.2.",
    "kern.ipc.tls.stats.ocf.tls12_chacha20_recrypts": "Mixed records of it; upstream never has any.",
    "kern.ipc.tls.stats.ocf.tls13_chacha20_decrypts": "Records opened in software, ChaCha20-Poly1305 in TLS 1.3.",
    "kern.ipc.tls.stats.ocf.tls13_chacha20_recrypts": "Mixed records of it; upstream never has any.",
    "kern.ipc.tls.ifnet.reset": "Receive tags made anew because packets came by another port.",
    "kern.ipc.tls.ifnet.reset_failed": "Those that could not be made; the host decrypts until the next change.",
    "dev.mce.0.tls_rx.stats.rx_resync_ok": "Progress queries posted to the NIC. It is not sync regained.",
    "dev.mce.0.tls_rx.stats.rx_resync_err": "Progress queries that found the command queue full.",
    "dev.mce.0.tls_rx.stats.rx_error": "Confirms and receive tags for which the command queue was full, or flow rules.",
    "dev.mce.0.rx.decrypted_ok_packets": "Packets that went up decrypted.",
    "dev.mce.0.rx.decrypted_error_packets": "Packets in which a record did not authenticate on the NIC.",
}

# Ours, as Prometheus shows them.
OURS: dict[str, str] = {
    "rxtls_frame_fates": "What became of each frame.",
    "rxtls_byte_fates": "What became of each payload byte.",
    "rxtls_record_fates": "What became of each record.",
    "rxtls_balance": "Things seen and not ended, or ended twice: 0, or rxtls has a bug.",
    "rxtls_records": "Records by class, which upstream does not tell.",
    "rxtls_record_bytes": "Bytes on the wire by record class.",
    "rxtls_recrypted_bytes": "Bytes that the NIC had decrypted and the host re-encrypted.",
    "rxtls_app_bytes": "Authenticated application data.",
    "rxtls_resync": "What host and NIC did to find back to each other: the JSON's resync.",
    "rxtls_driver": "What kernel and driver counted: the JSON's driver.",
    "rxtls_packets": "Segments by what the NIC made of them: decrypted, or why not.",
    "rxtls_tracker_seconds": "Capture time with a receive tag, by the state of the NIC's record tracker.",
    "rxtls_confirms_reached": "Confirms that reached the NIC while it still held their anchor.",
    "rxtls_context_fetches": "With context_cache set: segments whose context was in the NIC's memory, or was fetched.",
    "rxtls_confirm_seconds": "Capture time from such an anchor to its confirm, summed.",
}


class Ledger:
    """Counts what entered and what became of it. Ledgers add up: `merge` takes another one in."""

    __slots__ = ("entered", "fates")

    def __init__(self) -> None:
        self.entered: Counter[str] = Counter()
        self.fates: Counter[str] = Counter()

    def enter(self, kind: str, n: int = 1) -> None:
        """`n` things of `kind` (one of KINDS) were seen for the first time."""
        if kind not in KINDS:
            raise KeyError(f"no such kind: {kind}")
        self.entered[kind] += n

    def fate(self, name: str, n: int = 1) -> None:
        """`n` things ended as `name`, which must stand in FATES."""
        if name not in FATES:
            raise KeyError(f"no such fate: {name}")
        if n:
            self.fates[name] += n

    def merge(self, other: Ledger) -> None:
        """Add `other`'s counts to this ledger."""
        self.entered.update(other.entered)
        self.fates.update(other.fates)

    def balance(self) -> int:
        """Sum over the kinds of |entered - ended|: zero when nothing disappeared and nothing was counted twice."""
        ended: Counter[str] = Counter()
        for name, n in self.fates.items():
            ended[name.partition(".")[0]] += n
        return sum(abs(self.entered[kind] - ended[kind]) for kind in KINDS)
