"""A malicious gateway that tampers with sealed answers on their way to a client (SPEC 3)."""

import os
from collections.abc import Callable
from dataclasses import replace

import msgspec

from bombyx import canonical
from bombyx.attack.defence import Defence
from bombyx.attack.means.relay import Pass, relaying, split_answer, stream_reply, with_frames
from bombyx.attack.means.requests import Reply
from bombyx.attack.means.victim import PROMPT, Victim
from bombyx.attack.record import Role, Seen, attack, judged
from bombyx.attack.target import Need, Target
from bombyx.envelope.documents import RelayNote, StreamEnd
from bombyx.envelope.frames import FINAL, HEAD_BYTES, Frame, FrameType, encode_frame
from bombyx.money.receipt import Receipt

LONG = "count: 60\npace: 3"
"""An answer of many frames."""

Edit = Callable[[list[Frame]], list[Frame]]


def frame(kind: int, flags: int, body: bytes) -> Frame:
    """A frame of the attacker's making."""
    return Frame(kind, flags, encode_frame(kind, flags, body))


async def tampered(target: Target, edit: Edit, *, prompt: str = LONG) -> Seen:
    """Ask through a relay that edits the frames of the answer."""

    async def answer(request: bytes, forward: Pass) -> Reply:
        reply = await forward(request)
        salt, frames = split_answer(reply.body)
        return with_frames(reply, salt, edit(frames))

    async with relaying(target, answer=answer) as relay:
        told = await Victim(target).ask(relay.url, prompt)
        return judged(told.believed, str(told))


def data_at(frames: list[Frame]) -> list[int]:
    """Where the data frames are."""
    return [at for at, one in enumerate(frames) if one.type == FrameType.DATA]


@attack(
    Role.GATEWAY,
    Defence.AUTHENTIC_END,
    "truncated: the end frame is missing",
    Need.GATEWAY,
)
async def answer_cut_short(target: Target) -> Seen:
    """Withholds the rest of an answer, but passes on its first half and its receipt."""

    def edit(frames: list[Frame]) -> list[Frame]:
        return frames[: data_at(frames)[2]] + [one for one in frames if one.type == FrameType.USAGE]

    return await tampered(target, edit)


@attack(
    Role.GATEWAY,
    Defence.AUTHENTIC_END,
    "bad_answer: the final mark belongs on the end frame alone",
    Need.GATEWAY,
)
async def final_mark_on_clear_frame(target: Target) -> Seen:
    """Drops the sealed end and sets the final mark on the clear usage frame instead."""

    def edit(frames: list[Frame]) -> list[Frame]:
        usage = next(one for one in frames if one.type == FrameType.USAGE)
        return [*frames[: frames.index(usage)], frame(usage.type, FINAL, usage.body)]

    return await tampered(target, edit)


@attack(Role.GATEWAY, Defence.AUTHENTIC_END, "bad_answer: a forged end does not open", Need.GATEWAY)
async def end_frame_forged(target: Target) -> Seen:
    """Cuts the answer and writes an end frame of its own in clear."""

    def edit(frames: list[Frame]) -> list[Frame]:
        usage = next(one for one in frames if one.type == FrameType.USAGE)
        receipt = msgspec.json.decode(usage.body, type=Receipt)
        end = StreamEnd(statement=canonical.digest(receipt.statement).hex(), bytes=0)
        kept = frames[: data_at(frames)[1]]
        return [*kept, usage, frame(FrameType.END, FINAL, canonical.encode(end))]

    return await tampered(target, edit)


@attack(Role.GATEWAY, Defence.AUTHENTIC_FRAMES, "bad_answer: the next frame fails", Need.GATEWAY)
async def frame_dropped(target: Target) -> Seen:
    """Drops one piece out of the middle of an answer."""

    def edit(frames: list[Frame]) -> list[Frame]:
        at = data_at(frames)[1]
        return frames[:at] + frames[at + 1 :]

    return await tampered(target, edit)


@attack(Role.GATEWAY, Defence.AUTHENTIC_FRAMES, "bad_answer: both frames fail", Need.GATEWAY)
async def frames_reordered(target: Target) -> Seen:
    """Swaps two pieces of an answer."""

    def edit(frames: list[Frame]) -> list[Frame]:
        first, second = data_at(frames)[1:3]
        swapped = list(frames)
        swapped[first], swapped[second] = frames[second], frames[first]
        return swapped

    return await tampered(target, edit)


@attack(Role.GATEWAY, Defence.AUTHENTIC_FRAMES, "bad_answer: the copy fails", Need.GATEWAY)
async def frame_duplicated(target: Target) -> Seen:
    """Repeats one piece of an answer."""

    def edit(frames: list[Frame]) -> list[Frame]:
        at = data_at(frames)[1]
        return frames[: at + 1] + frames[at:]

    return await tampered(target, edit)


@attack(Role.GATEWAY, Defence.AUTHENTIC_FRAMES, "bad_answer: the frame fails", Need.GATEWAY)
async def frame_bits_flipped(target: Target) -> Seen:
    """Changes one bit inside a piece of an answer."""

    def edit(frames: list[Frame]) -> list[Frame]:
        at = data_at(frames)[1]
        body = bytearray(frames[at].body)
        body[5] ^= 1
        frames[at] = frame(FrameType.DATA, 0, bytes(body))
        return frames

    return await tampered(target, edit)


@attack(
    Role.GATEWAY,
    Defence.AUTHENTIC_FRAMES,
    "bad_answer: a frame's type is part of what is authenticated",
    Need.GATEWAY,
)
async def frame_type_changed(target: Target) -> Seen:
    """Turns a piece of an answer into padding, so that it vanishes."""

    def edit(frames: list[Frame]) -> list[Frame]:
        at = data_at(frames)[1]
        frames[at] = frame(FrameType.PADDING, 0, frames[at].body)
        return frames

    return await tampered(target, edit)


@attack(
    Role.GATEWAY, Defence.AUTHENTIC_END, "bad_answer: the answer goes on after its end",
    Need.GATEWAY,
)  # fmt: skip
async def frames_after_end(target: Target) -> Seen:
    """Appends frames to an answer that has ended."""

    def edit(frames: list[Frame]) -> list[Frame]:
        return [*frames, frames[data_at(frames)[-1]]]

    return await tampered(target, edit)


@attack(
    Role.GATEWAY, Defence.TRANSCRIPT, "bad_answer: the end is sealed under the true receipt",
    Need.GATEWAY,
)  # fmt: skip
async def usage_frame_replaced(target: Target) -> Seen:
    """Puts the clear receipt of an earlier request in the place of this one's."""
    earlier: list[Frame] = []

    def edit(frames: list[Frame]) -> list[Frame]:
        at = next(at for at, one in enumerate(frames) if one.type == FrameType.USAGE)
        if earlier:
            frames[at] = earlier[0]
        earlier.append(frames[at])
        return frames

    await tampered(target, edit)
    return await tampered(target, edit)


@attack(
    Role.GATEWAY,
    Defence.AUTHENTIC_FRAMES,
    "bad_answer: no key of this request opens the answer",
    Need.GATEWAY,
)
async def answer_of_another_request(target: Target) -> Seen:
    """Answers a request with the stream of the same user's earlier request."""
    earlier: list[Reply] = []

    async def answer(request: bytes, forward: Pass) -> Reply:
        if not earlier:
            earlier.append(await forward(request))
        return earlier[0]

    victim = Victim(target)
    async with relaying(target, answer=answer) as relay:
        await victim.ask(relay.url, "say: the first answer")
        told = await victim.ask(relay.url, PROMPT)
        return judged(told.believed, str(told))


async def in_clear(target: Target, body: bytes, media_type: str, *, stream: bool) -> Seen:
    """Answer with words of the gateway's own, and see whether the user reads them."""
    headers = {"content-type": media_type}

    async def answer(request: bytes, forward: Pass) -> Reply:  # noqa: ARG001 - nothing is asked
        return Reply(200, headers, body)

    async with relaying(target, answer=answer) as relay:
        told = await Victim(target).ask(relay.url, stream=stream)
        return judged("forged" in told.text, str(told))


@attack(
    Role.GATEWAY, Defence.SEALED_ONLY, "bad_answer: the answer is not sealed, nothing is shown",
    Need.GATEWAY,
)  # fmt: skip
async def clear_answer(target: Target) -> Seen:
    """Answers a sealed request in clear, as if it were a bare one."""
    message = {"role": "assistant", "content": "forged"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = msgspec.json.encode({"object": "chat.completion", "choices": [choice]})
    return await in_clear(target, body, "application/json", stream=False)


@attack(
    Role.GATEWAY, Defence.SEALED_ONLY, "bad_answer: the stream is not sealed, nothing is shown",
    Need.GATEWAY,
)  # fmt: skip
async def clear_event_stream(target: Target) -> Seen:
    """Streams words of its own as plain events."""
    chunk = {"choices": [{"index": 0, "delta": {"content": "forged"}}]}
    body = b"data: " + msgspec.json.encode(chunk) + b"\n\ndata: [DONE]\n\n"
    return await in_clear(target, body, "text/event-stream", stream=True)


@attack(
    Role.GATEWAY, Defence.SEALED_ONLY, "relay_interrupted: a note is an error, never an answer",
    Need.GATEWAY,
)  # fmt: skip
async def relay_note_as_end(target: Target) -> Seen:
    """Cuts an answer after its first words and closes it with a note of its own."""

    def edit(frames: list[Frame]) -> list[Frame]:
        note = RelayNote(code="link_lost", retryable=False)
        return [
            *frames[: data_at(frames)[2]],
            frame(FrameType.RELAY_NOTE, 0, canonical.encode(note)),
        ]

    return await tampered(target, edit)


@attack(
    Role.GATEWAY, Defence.AUTHENTIC_FRAMES, "bad_answer: the frame's length is beyond its limit",
    Need.GATEWAY,
)  # fmt: skip
async def endless_frame(target: Target) -> Seen:
    """Announces a frame of 4 GiB, so that the client buffers without end."""
    announced = b"\x00\x00" + b"\xff" * (HEAD_BYTES - 2)

    async def answer(request: bytes, forward: Pass) -> Reply:  # noqa: ARG001 - nothing is asked
        # A reader that waits for the rest of the frame sees the connection end instead.
        return replace(stream_reply(os.urandom(32)), body=os.urandom(32) + announced + bytes(99))

    async with relaying(target, answer=answer) as relay:
        told = await Victim(target).ask(relay.url)
        return judged(told.code == "truncated", f"{told} (truncated: it was still waiting)")
