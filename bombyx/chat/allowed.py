"""An allow-list of request fields, whatever the path (SPEC 4.1).

Four groups: passed on after a check of their shape; known and without effect here; private to
engines and dropped, since they reach into other requests (`rid`, `cache_salt`, `priority`), around
the meter (`ignore_eos`, `input_ids`) or run code; and everything else, which is refused by name so
that nobody believes a setting took effect.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bombyx.chat.body import Body
from bombyx.chat.fields import Checker
from bombyx.errors import UnsupportedParameter

DROPPED = frozenset(
    {
        "bootstrap_host",
        "bootstrap_port",
        "bootstrap_room",
        "cache_prompt",
        "cache_salt",
        "custom_logit_processor",
        "custom_params",
        "data_parallel_rank",
        "extra_key",
        "id_slot",
        "ignore_eos",
        "images_config",
        "input_ids",
        "lora_path",
        "priority",
        "return_hidden_states",
        "return_input_ids_in_sglext",
        "return_meta_info",
        "return_output_ids_in_sglext",
        "return_prompt_token_ids",
        "return_routed_experts",
        "return_token_ids",
        "rid",
        "routed_dp_rank",
        "session_id",
        "session_params",
    }
)
"""Private to engines: the worker's own business, dropped without a word as gateways do."""

_SAFE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Allowed:
    """The fields of one path.

    `checked` are looked at and go no further, since only one value of them is served.
    """

    passed: Mapping[str, Checker]
    checked: Mapping[str, Checker]
    ignored: frozenset[str]

    def take(self, body: Mapping[str, Any]) -> Body:
        """The fields that are passed on; null counts as absent.

        Raises `UnsupportedParameter` for a field that nothing here honours, and what its checker
        raises for a wrong one.
        """
        return {name: value for name, value in body.items() if self._is_passed(name, value)}

    def _is_passed(self, name: str, value: Any) -> bool:
        if value is None or name in self.ignored or name in DROPPED:
            return False
        if name in self.checked:
            self.checked[name](name, value)
            return False
        checker = self.passed.get(name)
        if checker is None:
            # A field's name is the client's text too: repeated only where it looks like a name.
            shown = name if _SAFE_NAME.fullmatch(name) else None
            raise UnsupportedParameter(f"{shown or 'a field'} is not supported here", param=shown)
        checker(name, value)
        return True
