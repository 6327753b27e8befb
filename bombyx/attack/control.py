"""What must work before a defeat means anything: honest requests, of the kinds that attacks bend.

A victim that answers nobody defeats every attack. So each way in is tried honestly once, and where
that fails the attacks through it show nothing.
"""

from collections.abc import Awaitable, Callable

from bombyx.attack.attacks.clients import produced
from bombyx.attack.attacks.pages import MODELS, ask, bearer
from bombyx.attack.means.requests import Forger
from bombyx.attack.means.victim import Victim
from bombyx.attack.record import Attack, Role
from bombyx.attack.target import Need, Target

Control = Callable[[Target], Awaitable[str]]
OK = 200


class NothingWorks(Exception):
    """Raised where an honest request fails as well; the message says how."""


async def check(attack: Attack, target: Target) -> None:
    """Try what the attack bends honestly, unless that was done; raises `NothingWorks`."""
    controls: list[Control] = []
    if Need.GATEWAY in attack.needs:
        controls.append(_by_victim if attack.role is Role.GATEWAY else _by_hand)
    if attack.role is Role.PAGE:
        controls.append(_through_sidecar)
    for control in controls:
        name = f"control {control.__name__}"
        if name not in target.kept:
            target.kept[name] = await control(target)
        if target.kept[name]:
            raise NothingWorks(f"an honest request fails too: {target.kept[name]}")


async def _by_hand(target: Target) -> str:
    forger = Forger(target)
    reply = await forger.post((await forger.sealed("say: silk")).encode())
    return "" if produced(reply) else str(reply)


async def _by_victim(target: Target) -> str:
    told = await Victim(target).ask(target.gateway)
    return "" if told.believed else str(told)


async def _through_sidecar(target: Target) -> str:
    reply = await ask(target, "GET", MODELS, {"authorization": bearer(target)})
    return "" if reply.status == OK else str(reply)
