"""A prefix cache as engines have: what a prompt begins with is known if a prompt before began so.

Prompts under different salts never meet. `shares` is the drill of an engine that ignores salts: the
control of the extraction test, and never how a worker runs it.
"""

from collections import OrderedDict, deque

MAX_SALTS = 1024
PROMPTS_PER_SALT = 256


class PrefixCache:
    """Bounded; the salts and prompts used longest ago go first."""

    def __init__(self, *, shares: bool = False) -> None:
        self._shares = shares
        self._prompts: OrderedDict[str, deque[list[str]]] = OrderedDict()

    def take(self, salt: str, prompt: list[str]) -> int:
        """Tokens of the prompt that are known already; the last one is always computed."""
        key = "" if self._shares else salt
        known = self._prompts.setdefault(key, deque(maxlen=PROMPTS_PER_SALT))
        self._prompts.move_to_end(key)
        found = max((_common(old, prompt[:-1]) for old in known), default=0)
        if prompt in known:
            known.remove(prompt)
        known.append(prompt)
        if len(self._prompts) > MAX_SALTS:
            self._prompts.popitem(last=False)
        return found


def _common(old: list[str], new: list[str]) -> int:
    same = 0
    for one, other in zip(old, new, strict=False):
        if one != other:
            break
        same += 1
    return same
