"""`rxtls explain`: why a connection was offloaded or not, where it lost sync, to which segment, and how it came back.

The words are for somebody who knows TCP and TLS, and has the capture open in Wireshark: each sentence has its frame.
A direction out of sync is an *episode*, from the header that went by unseen to the first record that the NIC decrypted
from its header on; what lies between is told in the order in which it happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from rxtls.events import PATH_CHANGES
from rxtls.offload.refusals import REFUSALS
from rxtls.seq import distance
from rxtls.study.story import Seen, Story, Told

EPISODES = 10  # told in full; of the others, how many there were


@dataclass(slots=True)
class Episode:
    """Out of sync, from `lost` to `until`: the NIC decrypts again, has a new receive tag, or loses its way anew."""

    lost: Told
    events: list[Told] = field(default_factory=list)
    until: Told | None = None


def explained(story: Story, episodes: int = EPISODES) -> str:
    """Paragraphs, one for each direction; lines are not wrapped."""
    flow = story.flow
    head = f"Flow {flow['id']}: {flow['client']} > {flow['server']}"
    if flow["tls"]:
        head += f", TLS {flow['tls']}, {flow['suite']}"
    lines = [f"{head}. NIC {story.profile}, policy {story.policy}."]
    for receiver in ("server", "client"):
        received = flow["receive"].get(receiver)
        if received is not None:
            lines += ["", f"What the {receiver} receives:"]
            lines += [f"  {line}" for line in _direction(story, receiver, episodes)]
    return "\n".join(lines) + "\n"


def _direction(story: Story, receiver: str, episodes: int) -> Iterator[str]:
    received = story.flow["receive"][receiver]
    events = [each for each in story.events if each.receiver == receiver]
    records = [each for each in story.records if each.receiver == receiver]
    if received["vantage"] != "receiver":
        by = f" (by {received['vantage_by']})" if received.get("vantage_by") else ""
        yield f"Seen at: {received['vantage']}{by}. Only a capture at the receiver shows what its NIC would have met."
    if received["offload"] is None:
        yield f"Not decrypted: {received['why']['text']}."
        return
    where = _Where(story)
    opened = Counter(each.record_class for each in records)
    ktls = sum(opened[name] for name in ("decrypted", "mixed", "encrypted", "failed"))
    if not any(each.what == "install" for each in events):
        yield f"Not offloaded: {received['why']['text']}. The host opened all {_many(ktls, 'record')}."
    yield from _installs(events, where)
    yield from _refused_tags(events, records, where)
    told = _episodes(events)
    for episode in told[:episodes]:
        yield from _episode(episode, records, where)
    if len(told) > episodes:
        yield f"... and {_many(len(told) - episodes, 'more loss', 'more losses')} like these (--all tells them)."
    if opened["failed"]:
        first = next(each for each in records if each.record_class == "failed")
        yield (
            f"{_many(opened['failed'], 'record')} did not authenticate, the first in {where(first.place)} "
            f"(number {first.number}, sequence {first.tcp_seq})."
        )
    yield (
        f"In all: {_many(ktls, 'record')} on the kTLS socket: {opened['decrypted']} decrypted by the NIC, "
        f"{opened['mixed']} in part, {opened['encrypted']} by the host; {_many(len(told), 'loss', 'losses')} of sync."
    )
    if not told and opened["encrypted"] + opened["mixed"] == 0 and opened["decrypted"]:
        yield "Every record was decrypted by the NIC: nothing to explain."
    if any(each.what == "install" for each in events) and received["offload"] == "sw":
        yield f"At the end the host decrypts: {received['why']['text']}."


def _installs(events: list[Told], where: _Where) -> Iterator[str]:
    """Receive tags and path changes, in their order."""
    installs = [each for each in events if each.what == "install"]
    changes = [each for each in events if each.what in ("reset", "reset_failed")]
    done = {each.place: each for each in changes if each.what == "reset"}
    told = [(each.place, line) for each in changes if each.what != "reset" for line in _failed(each, where)]
    for n, each in enumerate(installs):
        change = done.get(each.place)
        why = _why(change) if change else "the keys changed"
        if n == 0 and not changes:
            line = f"Offloaded from {where(each.place)} on: a receive tag"
        elif n == 0:
            on = f" on {change.change[1]}, since {why}" if change and change.change else ""
            line = f"Offloaded from {where(each.place)} on: a receive tag{on}"
        else:
            line = f"{where(each.place).capitalize()}: a new receive tag, since {why}"
        told.append((each.place, f"{line}, for record {each.number} at sequence {each.tcp_seq}."))
    yield from (line for _, line in sorted(told, key=lambda each: each[0]))


def _failed(told: Told, where: _Where) -> Iterator[str]:
    result = told.change[3] if told.change else ""
    said = REFUSALS[result].text if result in REFUSALS else "The host decrypts"
    yield f"{where(told.place).capitalize()}: {_why(told)}, and no receive tag could be made there. {said}."


def _why(told: Told) -> str:
    """Why the receive tag had to be made anew. Runs of before 0.2.0 do not say more than that."""
    if told.change is None:
        return "packets came by another interface"
    was, now, cause, _ = told.change
    return f"{PATH_CHANGES.get(cause, PATH_CHANGES['moved'])} ({was} before, {now} now)"


def _refused_tags(events: list[Told], records: list[Seen], where: _Where) -> Iterator[str]:
    """Records whose AEAD tag the NIC did not verify, and what became of them at the host."""
    failed = [each for each in events if each.what == "auth_failed"]
    if not failed:
        return
    places = {each.tcp_seq for each in failed}
    touched = [
        (before, each) for before, each in zip([None, *records], records, strict=False) if each.tcp_seq in places
    ]
    good = [(before, each) for before, each in touched if each.record_class in ("encrypted", "mixed")]
    what = f"{_many(len(failed), 'record')} did not authenticate on the NIC, the first at sequence {failed[0].tcp_seq}"
    cause = ""
    if good and all(each.number == 0 or (before and before.number == 0) for before, each in good):
        cause = ": the peer had changed its keys, and the NIC had not been told yet. The host opened them"
    elif good:
        cause = f"; the host opened {len(good)} of them"
    yield f"{where(failed[0].place).capitalize()}: {what}{cause}."
    stopped = next((each for each in events if each.what == "stopped"), None)
    if stopped:
        yield f"{where(stopped.place).capitalize()}: after that many in a row the NIC gave the flow up."


def _episodes(events: list[Told]) -> list[Episode]:
    found: list[Episode] = []
    for each in events:
        running = found[-1] if found and found[-1].until is None else None
        if running and each.what in ("resumed", "install", "lost"):
            running.until = each
        elif running:
            running.events.append(each)
        if each.what == "lost":
            found.append(Episode(each))
    return found


# What happens while the NIC is out of sync, of the event that is formatted in.
_SAID = {
    "anchored": "the NIC tracks from what looks like a header at sequence {0.tcp_seq}.",
    "false_anchor": "that was none, and the NIC searches on.",
    "confirm": "the host knows that header: record {0.number}. It tells the NIC.",
    "confirmed": "that has reached it: it decrypts from the next header on.",
    "stale_confirm": "too late, the NIC tracks from elsewhere by now.",
    "set_position": "the host says where record {0.number} will stand: {0.tcp_seq}.",
    "stopped": "the NIC gives up on this flow: too many records failed, or their numbers are used up.",
}


def _episode(episode: Episode, records: list[Seen], where: _Where) -> Iterator[str]:
    lost = episode.lost
    yield f"{where(lost.place).capitalize()}: out of sync. {_what_was_missed(lost, records, where)}"
    what = Counter(each.what for each in episode.events)
    for each in episode.events:
        if each.what in _SAID:
            yield f"  {where(each.place)}: {_SAID[each.what].format(each)}"
    if what["query"] > 1:
        answers = _many(what["answer"], "answer")
        yield f"  The host asked {what['query']} times where the NIC stands; {answers} came meanwhile."
    until = episode.until
    span = [each for each in records if each.place >= lost.place and (until is None or each.place <= until.place)]
    classes = Counter(each.record_class for each in span)
    host = f"{classes['encrypted']} opened by the host, {classes['mixed']} in part by the NIC"
    if until is None:
        yield f"  It never came back; behind it: {host}."
    elif until.what == "lost":
        yield f"  Before it could decrypt again it lost its way anew; meanwhile {host}."
    elif until.what == "install":
        yield f"  {where(until.place)}: a new receive tag ends it; meanwhile {host}."
    else:
        after = next((each for each in records if each.tcp_seq == until.tcp_seq), None)
        which = "" if after is None or after.number is None else f"record {after.number}, "
        microseconds = (until.time_ns - lost.time_ns) // 1000
        yield (
            f"  {where(until.place)}: decrypting again, from {which}sequence {until.tcp_seq}: "
            f"{microseconds} us later; meanwhile {host}."
        )


def _what_was_missed(lost: Told, records: list[Seen], where: _Where) -> str:
    """Which record's header the NIC did not see, and when its bytes came after all."""
    assert lost.tcp_seq is not None
    missed = next((each for each in records if each.tcp_seq == lost.tcp_seq), None)
    if missed is None:
        inside = next((e for e in records if 0 < distance(e.tcp_seq, lost.tcp_seq) < e.wire_length), None)
        whose = f", inside record {inside.number}" if inside else ""
        return (
            f"What the NIC expected at sequence {lost.tcp_seq}{whose} did not come, and it cannot tell what followed."
        )
    late = missed.place > lost.place
    came = f"; its bytes came late, by {where(missed.place)} they were there" if late else ""
    number = "" if missed.number is None else f" of record {missed.number}"
    return f"The header{number} at sequence {lost.tcp_seq} was not in the segments up to here{came}."


class _Where:
    """Frames in words: with their file where there are several."""

    def __init__(self, story: Story) -> None:
        self._captures = story.captures

    def __call__(self, place: tuple[int, int]) -> str:
        capture, frame = place
        return f"frame {frame}" if len(self._captures) == 1 else f"frame {frame} of {self._captures[capture]}"


def _many(n: int, one: str, more: str | None = None) -> str:
    return f"{n} {one if n == 1 else more or one + 's'}"
