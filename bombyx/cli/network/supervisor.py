"""Several processes as one: started in stages, watched, started again, stopped in reverse.

All of them share one process group of their own, so that Ctrl-C reaches only us, and whatever they
started in turn can be ended with them.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bombyx.cli.network.child import Child, Recipe, last_lines
from bombyx.errors import SetupError

TURN_SECONDS = 0.02
FIRST_BACKOFF_SECONDS = 0.5
LAST_BACKOFF_SECONDS = 15.0
STEADY_SECONDS = 60.0
"""A process that lived so long starts the back-off anew."""
QUIET_SECONDS = 4.0
"""Of a start that takes longer it is told how far it is."""
_EVENT = ("", "{")
MAX_CRASHES = 6
"""In a row, each within `STEADY_SECONDS`: something is wrong that starting again will not mend."""

Clock = Callable[[], float]
Sleep = Callable[[float], None]


@dataclass(slots=True)
class Post:
    """One place in the network and who fills it; `crashes` counts those in a row."""

    recipe: Recipe
    child: Child
    since: float
    crashes: int = 0
    due: float | None = field(default=None)
    """When to start again; None while a child runs."""

    @property
    def state(self) -> str:
        """One word for people."""
        if self.due is not None:
            return "restarting"
        return "running" if self.child.ready is not None else "starting"


class Supervisor:
    """Owns the processes; `say` gets a sentence when one of them ends on its own."""

    def __init__(
        self,
        say: Callable[[str], None],
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._say = say
        self._clock = clock
        self._sleep = sleep
        self._stages: list[list[Post]] = []
        self._group: int | None = None

    @property
    def posts(self) -> list[Post]:
        """All of them, in the order of their start."""
        return [post for stage in self._stages for post in stage]

    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return {post.recipe.name: post.child.pid for post in self.posts}

    def start(self, recipes: Sequence[Recipe]) -> list[dict[str, Any]]:
        """Start processes side by side and wait for each; their ready lines.

        Raises `SetupError` with the end of its log when one refuses, ends or takes too long.
        """
        stage: list[Post] = []
        self._stages.append(stage)
        for recipe in recipes:
            # One by one: who was started is stopped, also when the next cannot be started.
            stage.append(Post(recipe, self._spawn(recipe), self._clock()))  # noqa: PERF401
        for post in stage:
            self._await(post)
        return [post.child.ready or {} for post in stage]

    def tend(self) -> None:
        """One turn: hear everyone, start again who ended; raises `SetupError` to give up."""
        for post in self.posts:
            if post.due is not None:
                if self._clock() >= post.due:
                    post.child, post.since, post.due = self._spawn(post.recipe), self._clock(), None
                continue
            post.child.listen()
            code = post.child.exit_code()
            if code is not None:
                self._ended(post, code)
            elif post.child.ready is None and self._is_late(post):
                post.child.send(signal.SIGKILL)

    def stop_latest(self) -> None:
        """Stop what was started last, and do without it."""
        self._stop(self._stages.pop())

    def stop(self) -> None:
        """Stop everything, last started first; what does not leave in time is killed."""
        for stage in reversed(self._stages):
            self._stop(stage)
        self._stages.clear()
        if self._group is not None:  # what a killed child left behind
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, signal.SIGKILL)

    def _spawn(self, recipe: Recipe) -> Child:
        try:
            child = Child(recipe, group=self._group)
        except (PermissionError, ProcessLookupError):
            # The group ended with its last member.
            child = Child(recipe)
            self._group = child.pid
        if self._group is None:
            self._group = child.pid
        return child

    def _await(self, post: Post) -> None:
        child, said = post.child, ""
        due = self._clock() + QUIET_SECONDS
        while child.ready is None:
            if self._clock() >= due:
                due, said = self._clock() + QUIET_SECONDS, self._tell_progress(post.recipe, said)
            # In this order: what a process says before it ends is heard.
            code = child.exit_code()
            child.listen()
            if child.ready is None and code is not None:
                raise failure(post.recipe, f"ended with {describe_exit(code)} before it was ready")
            if child.ready is None and self._is_late(post):
                limit = f"{post.recipe.ready_seconds:.0f} s"
                raise failure(post.recipe, f"was not ready within {limit}")
            self._sleep(TURN_SECONDS)
        if child.refusal():
            raise failure(post.recipe, f"did not start: {child.refusal()}")

    def _tell_progress(self, recipe: Recipe, said: str) -> str:
        """What a process that takes long wrote last for people: a large model is read for minutes.

        Its log's other lines are for programs. Returns what was said by now.
        """
        words = next((one for one in reversed(last_lines(recipe.log)) if one[:1] not in _EVENT), "")
        if words and words != said:
            self._say(f"{recipe.name}: {words}")
        return words or said

    def _is_late(self, post: Post) -> bool:
        return self._clock() - post.since > post.recipe.ready_seconds

    def _ended(self, post: Post, code: int) -> None:
        post.child.wait()
        lived = self._clock() - post.since
        post.crashes = 1 if lived > STEADY_SECONDS else post.crashes + 1
        if post.crashes > MAX_CRASHES:
            raise failure(post.recipe, f"ended {post.crashes} times in a row")
        delay = min(FIRST_BACKOFF_SECONDS * 2 ** (post.crashes - 1), LAST_BACKOFF_SECONDS)
        post.due = self._clock() + delay
        self._say(
            f"{post.recipe.name} ended with {describe_exit(code)}; starting it again in {delay:g} s"
        )

    def _stop(self, stage: Sequence[Post]) -> None:
        running = [post.child for post in stage if post.due is None]
        for child in running:
            child.send(signal.SIGTERM)
        for child in running:
            deadline = self._clock() + child.recipe.stop_seconds
            while child.exit_code() is None and self._clock() < deadline:
                child.listen()
                self._sleep(TURN_SECONDS)
            if child.exit_code() is None:
                child.send(signal.SIGKILL)
            child.wait()


def describe_exit(code: int) -> str:
    """An exit code as people say it."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def failure(recipe: Recipe, what: str) -> SetupError:
    """What became of a process, with the end of its log as a hint."""
    error = SetupError(f"{recipe.name} {what}")
    lines = last_lines(recipe.log)
    if lines:
        error.add_note("\n".join([f"the end of {recipe.log}:", *(f"  {line}" for line in lines)]))
    return error
