"""SPEC 3.3, 3.6: a relay that lies about an answer gives nothing away and changes nothing.

The relay holds the worker's true frames and may drop, reorder, repeat, change, cut, forge or add.
Whatever it does, a client that checks each receipt as it comes (its signed hash names all bytes
before it) sees a prefix of the true answer, and an answer that finishes is the true one. A client
that put off the receipts could be shown a hole: clear usage frames take a number in the sequence.
"""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bombyx import canonical
from bombyx.envelope.documents import RelayNote, StreamEnd
from bombyx.envelope.frames import FrameType, encode_frame
from bombyx.envelope.opener import (
    DataOpened,
    EndOpened,
    ErrorOpened,
    HeadOpened,
    Opened,
    UsageSeen,
)
from bombyx.errors import CannotOpen, MalformedFrame, RelayInterrupted, Truncated
from tests.bombyx.envelope.answers import HEAD, SALT, STATEMENT, opener, sealer
from tests.factories import seed, worker

Item = tuple[str, bytes]
kinds = st.sampled_from(["data", "data", "usage", "pad", "error"])
scripts = st.lists(st.tuples(kinds, st.binary(max_size=40)), max_size=8)


def truth(script: list[Item], secret: bytes = seed("rs 0")) -> tuple[list[bytes], list[Opened]]:
    """The frames of an honest worker, and what they say (without hashes)."""
    sealing, frames = sealer(secret=secret), list[bytes]()
    said: list[Opened] = [HeadOpened(worker("a").id, HEAD)]
    frames.append(sealing.head(HEAD))
    for kind, payload in script:
        if kind == "data":
            frames.append(sealing.data(payload))
            said.append(DataOpened(payload))
        elif kind == "usage":
            fixed = sealing.fix()
            frames.append(sealing.usage(payload))
            said.append(UsageSeen(payload, *fixed))
        elif kind == "error":
            frames.append(sealing.error(payload))
            said.append(ErrorOpened(payload))
        else:
            frames.append(sealing.keepalive(len(payload)))
    fixed = sealing.fix()
    frames += [sealing.usage(b"final"), sealing.end(STATEMENT)]
    spoken = sum(len(payload) for kind, payload in script if kind == "data")
    end = EndOpened(StreamEnd(statement=STATEMENT.hex(), bytes=spoken))
    return frames, [*said, UsageSeen(b"final", *fixed), end]


class LyingRelay(RuleBasedStateMachine):
    """Each rule hands the client the next bytes, true or not."""

    @initialize(script=scripts)
    def ask_first(self, script: list[Item]) -> None:
        self.ask(script)

    @precondition(lambda self: self.dead)
    @rule(script=scripts)
    def ask_again(self, script: list[Item]) -> None:
        self.judge()
        self.ask(script)

    def ask(self, script: list[Item]) -> None:
        self.frames, self.said = truth(script)
        self.others, _ = truth([("data", b"other"), *script], seed("rs 1"))
        self.client = opener()
        self.client.feed(SALT)
        self.next = 0
        self.seen: list[Opened] = []
        self.dead = False
        self.changed = False

    def give(self, raw: bytes) -> None:
        try:
            opened = self.client.feed(raw)
        except (CannotOpen, MalformedFrame, RelayInterrupted):
            self.dead = True
            return
        self.seen += opened

    @property
    def alive(self) -> bool:
        return not self.dead

    @property
    def more(self) -> bool:
        return self.alive and self.next < len(self.frames)

    @precondition(lambda self: self.more)
    @rule(cut=st.integers(0, 600), times=st.integers(1, 4))
    def pass_on(self, cut: int, times: int) -> None:
        for frame in self.frames[self.next : self.next + times]:
            self.next += 1
            self.give(frame[:cut])
            if self.alive:
                self.give(frame[cut:])

    @precondition(lambda self: self.more)
    @rule()
    def drop(self) -> None:
        self.next += 1
        self.changed = True

    @precondition(lambda self: self.alive and self.next > 0)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        self.changed = True
        self.give(self.frames[data.draw(st.integers(0, self.next - 1))])

    @precondition(lambda self: self.more)
    @rule(data=st.data())
    def overtake(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(self.next, len(self.frames) - 1))
        if at != self.next:
            self.changed = True
            self.frames[self.next], self.frames[at] = self.frames[at], self.frames[self.next]

    @precondition(lambda self: self.more)
    @rule(data=st.data(), mask=st.integers(1, 255))
    def change(self, data: st.DataObject, mask: int) -> None:
        frame = bytearray(self.frames[self.next])
        frame[data.draw(st.integers(0, len(frame) - 1))] ^= mask
        self.frames[self.next] = bytes(frame)
        self.changed = True

    @precondition(lambda self: self.more)
    @rule(receipt=st.binary(max_size=20))
    def swap_usage(self, receipt: bytes) -> None:
        frame = encode_frame(FrameType.USAGE, 0, receipt)
        if self.frames[self.next] != frame:
            self.changed = True
        self.frames[self.next] = frame

    @precondition(lambda self: self.more)
    @rule(data=st.data())
    def swap_for_another_workers_frame(self, data: st.DataObject) -> None:
        self.frames[self.next] = data.draw(st.sampled_from(self.others[1:]))
        self.changed = True

    @precondition(lambda self: self.alive)
    @rule(code=st.sampled_from(["link_lost", "draining"]))
    def add_note(self, code: str) -> None:
        note = canonical.encode(RelayNote(code=code, retryable=False))
        self.give(encode_frame(FrameType.RELAY_NOTE, 0, note))
        # A changed length may have swallowed the note.
        assert self.dead or self.changed

    @precondition(lambda self: self.alive)
    @rule(frame_type=st.sampled_from(FrameType), flags=st.integers(0, 1), body=st.binary())
    def forge(self, frame_type: FrameType, flags: int, body: bytes) -> None:
        self.changed = True
        self.give(encode_frame(frame_type, flags, body))

    @precondition(lambda self: self.alive)
    @rule(junk=st.binary(min_size=1, max_size=60))
    def append(self, junk: bytes) -> None:
        self.changed = True
        self.give(junk)

    @invariant()
    def the_client_has_a_prefix_of_what_was_sealed(self) -> None:
        """A forged usage frame may show itself, unverified; nothing sealed opens behind it."""
        seen = list(self.seen)
        while seen and isinstance(seen[-1], UsageSeen):
            seen.pop()
        assert seen == self.said[: len(seen)]

    def judge(self) -> None:
        """What finishes is the whole truth, and the whole truth finishes."""
        try:
            self.client.finish()
            ended = True
        except Truncated:
            ended = False
        if ended and self.alive:
            assert self.seen == self.said
        if not self.changed and self.alive and self.next == len(self.frames):
            assert ended

    def teardown(self) -> None:
        self.judge()


TestLyingRelay = LyingRelay.TestCase
TestLyingRelay.settings = settings(max_examples=150, stateful_step_count=20)


@pytest.mark.spec("3.3-a", "3.3-b")
@pytest.mark.parametrize("dropped", range(1, 7))
def test_no_frame_can_be_left_out_unseen(dropped: int) -> None:
    frames, _ = truth([("data", b"a"), ("usage", b"u"), ("pad", b"p"), ("error", b"e")])
    client = opener()
    client.feed(SALT)
    left = frames[:dropped] + frames[dropped + 1 :]
    try:
        client.feed(b"".join(left))
    except (CannotOpen, MalformedFrame):
        return
    with pytest.raises(Truncated):
        client.finish()


@pytest.mark.spec("3.3-b")
@pytest.mark.parametrize("at", [2, 5])
def test_no_usage_frame_can_be_replaced_or_moved_unseen(at: int) -> None:
    frames, _ = truth([("data", b"a"), ("usage", b"u"), ("data", b"b"), ("data", b"c")])
    replaced = [*frames[:at], encode_frame(FrameType.USAGE, 0, b"x"), *frames[at + 1 :]]
    moved = [*frames[: at - 1], frames[at], frames[at - 1], *frames[at + 1 :]]
    for lie in (replaced, moved):
        client = opener()
        with pytest.raises(CannotOpen):
            client.feed(SALT + b"".join(lie))


@pytest.mark.spec("3.3-b")
def test_nothing_opens_behind_data_that_was_replaced_by_a_clear_frame() -> None:
    frames, _ = truth([("data", b"never "), ("data", b"press this")])
    client = opener()
    client.feed(SALT + frames[0] + encode_frame(FrameType.USAGE, 0, b"old"))
    with pytest.raises(CannotOpen):
        client.feed(frames[2])
