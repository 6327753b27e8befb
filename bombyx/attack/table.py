"""The table of attacks in the documentation: written from the attacks themselves.

`python -m bombyx.attack.table docs/attacks.md` brings the file up to date.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from bombyx.attack.record import Attack, Role
from bombyx.attack.run import all_attacks

BEGIN, END = "<!-- attacks: written by bombyx.attack.table -->", "<!-- end of attacks -->"
_PLAYS = {
    Role.GATEWAY: "A malicious gateway, or whoever sits between client and gateway",
    Role.WORKER: "A lying worker",
    Role.CLIENT: "A cheating client",
    Role.PAGE: "An evil web page at the sidecar of its visitor",
    Role.NEIGHBOUR: "A second user of the same machine",
}


def table(attacks: Sequence[Attack]) -> str:
    """Markdown: one table for each role."""
    parts = []
    for role, title in _PLAYS.items():
        rows = [_row(one) for one in attacks if one.role is role]
        head = f"### {title} (`{role.value}`)\n\n| attack | tries | defence | must end in |"
        parts.append("\n".join((head, "|---|---|---|---|", *rows)))
    return "\n\n".join(parts)


def _row(one: Attack) -> str:
    tries = one.tries[0].lower() + one.tries[1:]
    return f"| `{one.name}` | {tries} | {one.defence.value} | {one.expected} |"


def renewed(text: str) -> str:
    """A document with the table between its marks replaced; raises `ValueError` without marks."""
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"the document lacks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{table(all_attacks())}\n\n{END}{after}"


def main(path: Path) -> None:
    """Bring one file up to date."""
    path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
