"""What sizes and times of frames tell of an answer (SPEC 3.7): before padding, and after.

An observer of the network sees each frame's length and when it came. Answers of a real model
(`data/answers.json`) are sealed by the real sealer, at two speeds of generation, with and without
coalescing, with and without padding. Three attacks are measured on what is seen:

* each token's length: bits of mutual information between a token's length and its frame's size, and
  how often the likeliest length is right;
* the question: of four questions, which one an answer is to. A naive Bayes classifier over frame
  sizes by position, over all of them, and over their number learns from half of the answers. All
  answers end at the same limit, so that their length does not give them away;
* the length of an answer, cut at random: tokens estimated from the number of frames.

Deterministic: seeded arrival times, no clock, nothing random in the sealer.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bombyx.chat.body import encode_body
from bombyx.chat.sse import encode_event
from bombyx.envelope.response import Padding, ResponseSealer
from worker.inference.pace import Pace

ANSWERS = Path(__file__).parent / "data" / "answers.json"
SHORTEST = 8
POSITIONS = 24
SMOOTHING = 0.5
H, SALT, SECRET = b"\1" * 32, b"\2" * 32, b"\3" * 32


@dataclass(frozen=True, slots=True)
class Shape:
    """How a stream is cut into frames; `gap` is the mean time between two tokens, in seconds."""

    name: str
    padding: Padding
    coalesced: bool
    gap: float


@dataclass(frozen=True, slots=True)
class Frame:
    """What is seen of a frame, and the tokens inside that are not."""

    size: int
    tokens: tuple[str, ...]


SHAPES = [
    Shape(f"{padding.value}, {'coalesced' if coalesced else 'each token alone'}, {speed}/s",
          padding, coalesced, 1 / speed)
    for speed in (20, 100)
    for padding in (Padding.EXACT, Padding.BUCKET)
    for coalesced in (False, True)
]  # fmt: skip
Answer = list[str]
Seen = list[Frame]


def measure() -> list[dict[str, object]]:
    """One row for each shape."""
    corpus: dict[str, list[Answer]] = json.loads(ANSWERS.read_text(encoding="ascii"))
    return [_row(shape, corpus) for shape in SHAPES]


def _row(shape: Shape, corpus: dict[str, list[Answer]]) -> dict[str, object]:
    seen = {
        question: [_frames(answer, shape, seed) for seed, answer in enumerate(answers)]
        for question, answers in corpus.items()
    }
    everything = [frame for answers in seen.values() for frames in answers for frame in frames]
    tokens = sum(len(frame.tokens) for frame in everything)
    bits, right = _lengths(everything)
    return {
        "case": shape.name,
        "bits_per_token": round(bits, 2),
        "length_guessed": round(right, 3),
        "question_guessed": round(_classified(seen), 3),
        "count_error": round(_count_error(corpus, shape, len(everything) / tokens), 3),
        "bytes_per_token": round(sum(frame.size for frame in everything) / tokens),
        "frames_per_token": round(len(everything) / tokens, 2),
    }


def _frames(answer: Answer, shape: Shape, seed: int) -> Seen:
    """The frames of one answer; a pause between tokens varies as an engine's does."""
    sealer = ResponseSealer(SECRET, h=H, salt=SALT, padding=shape.padding)
    chance, now = random.Random(seed), 0.0
    pace, due = Pace(), math.inf
    held: Answer = []
    out: Seen = []

    def flush() -> None:
        events = b"".join(map(_event, held))
        out.append(Frame(len(sealer.data(events)), tuple(held)))
        held.clear()

    for token in answer:
        now += shape.gap * chance.uniform(0.7, 1.3)
        if now >= due and held:
            flush()
            due = math.inf
        held.append(token)
        wait = pace.hold(now) if shape.coalesced else 0.0
        if not wait:
            flush()
            due = math.inf
        elif due == math.inf:
            due = now + wait
    if held:
        flush()
    return out


def _event(token: str) -> bytes:
    choice = {"index": 0, "delta": {"content": token}, "logprobs": None, "finish_reason": None}
    head = {
        "id": "chatcmpl-" + "0" * 32,
        "object": "chat.completion.chunk",
        "created": 1_800_000_000,
    }
    return encode_event(encode_body({**head, "model": "smollm2", "choices": [choice]}))


def _lengths(frames: Sequence[Frame]) -> tuple[float, float]:
    """Mutual information of a token's length and its frame's size; share of lengths guessed."""
    pairs = Counter((len(token.encode()), frame.size) for frame in frames for token in frame.tokens)
    total = sum(pairs.values())
    lengths: Counter[int] = Counter()
    sizes: Counter[int] = Counter()
    best: dict[int, int] = {}
    for (length, size), count in pairs.items():
        lengths[length] += count
        sizes[size] += count
        best[size] = max(best.get(size, 0), count)
    bits = sum(
        count / total * math.log2(count * total / (lengths[length] * sizes[size]))
        for (length, size), count in pairs.items()
    )
    return bits, sum(best.values()) / total


def _count_error(corpus: dict[str, list[Answer]], shape: Shape, frames_per_token: float) -> float:
    """Mean error, relative, when tokens are estimated from the number of frames."""
    chance = random.Random(0)
    errors = []
    for answers in corpus.values():
        for seed, answer in enumerate(answers):
            cut = answer[: chance.randint(min(SHORTEST, len(answer)), len(answer))]
            guess = len(_frames(cut, shape, seed)) / frames_per_token
            errors.append(abs(guess - len(cut)) / len(cut))
    return sum(errors) / len(errors)


def _classified(seen: dict[str, list[Seen]]) -> float:
    """Share of held-back answers whose question is guessed, learning from the others."""
    models = {question: _Model(answers[::2]) for question, answers in seen.items()}
    tried = [(question, one) for question, answers in seen.items() for one in answers[1::2]]
    right = sum(
        max(models, key=lambda name: models[name].likelihood(one)) == question
        for question, one in tried
    )
    return right / len(tried)


class _Model:
    """How likely frames are for one question."""

    def __init__(self, answers: Sequence[Seen]) -> None:
        self._all = _Table(frame.size for one in answers for frame in one)
        self._number = _Table(len(one) // 4 for one in answers)
        self._places = [
            _Table(one[at].size for one in answers if len(one) > at) for at in range(POSITIONS)
        ]

    def likelihood(self, one: Seen) -> float:
        places = zip(self._places, one, strict=False)
        return (
            sum(table.log(frame.size) for table, frame in places)
            + sum(self._all.log(frame.size) for frame in one)
            + self._number.log(len(one) // 4)
        )


class _Table:
    """Smoothed frequencies."""

    def __init__(self, values: Iterable[int]) -> None:
        self._counts = Counter(values)
        self._total = sum(self._counts.values())

    def log(self, value: int) -> float:
        kinds = len(self._counts) + 1
        return math.log((self._counts[value] + SMOOTHING) / (self._total + SMOOTHING * kinds))


def show(rows: Sequence[dict[str, object]], say: Callable[[str], None] = print) -> None:
    """The table; of four questions a blind guess hits 25 %."""
    say(f"{'shape':38} {'bits':>5} {'length':>7} {'question':>9} {'count ±':>8} {'B/token':>8}")
    for row in rows:
        say(
            f"{row['case']:38} {row['bits_per_token']:>5} {row['length_guessed']:>7.0%}"
            f" {row['question_guessed']:>9.0%} {row['count_error']:>8.0%}"
            f" {row['bytes_per_token']:>8}"
        )
