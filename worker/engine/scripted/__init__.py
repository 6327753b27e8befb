"""A deterministic engine that obeys its prompt: for tests, demonstrations and broken-engine drills.

No randomness and no clock but the pauses that a prompt asks for. Commands, each on a line of its
own in the last user message (`commands.py` reads them):

    say: TEXT          answer with TEXT
    count: N           answer with the numbers 1 to N
    echo               answer with the rest of the message
    think: N           N tokens of reasoning first
    pace: MS           wait so long before each token
    fault: KIND [N]    after N tokens (3): crash, hang, cut, or lie_tokens; error: before the first

Without a command it answers one fixed sentence. Tools are called when the request demands it or the
prompt speaks of them, with the values that the prompt names; `response_format` gets the smallest
fitting JSON; tools that it names in full are called together. One token is one word with the white
space before it, and its numbers are its bytes. Vectors of embeddings are sums of their words'.
"""

from worker.engine.scripted.engine import Scripted, ScriptedEngine

__all__ = ["Scripted", "ScriptedEngine"]
