"""How this worker's owner is paid, from the worker's settings (SPEC 8)."""

from pathlib import Path

from bombyx.errors import Draining, Unpaid
from bombyx.money.channel.addresses import account_of
from bombyx.money.channel.payout_documents import nobodys_key
from bombyx.units import Nano
from worker.ledger.credit import RETRY_AFTER_MS, Credit
from worker.ledger.journal import Journal
from worker.ledger.payout_books import Payee
from worker.ledger.till import Rules, Till
from worker.notices import Notices
from worker.settings import WorkerSettings


def rules_of(settings: WorkerSettings) -> Rules:
    """Who is paid, and the owner's limits."""
    account = account_of(settings.wallet)
    payee = None
    if account is not None:
        key = bytes.fromhex(settings.payout_key) if settings.payout_key else nobodys_key(account)
        payee = Payee(account, key)
    return Rules(
        settings.wallet,
        payee,
        most=settings.credit_limit_nano,
        unsecured=settings.unsecured_credit_nano,
    )


def make_till(
    settings: WorkerSettings, journal: Journal, notices: Notices, *, folder: Path | None
) -> Till:
    """The till, not open yet."""
    rules = rules_of(settings)
    return Till(journal, rules, folder=folder, tell=notices.tell, clear=notices.clear)


class Reserver:
    """Step 8 of admission; the owner is told of a gateway that does not pay, and when it does."""

    def __init__(self, credit: Credit, journal: Journal, notices: Notices) -> None:
        self._credit = credit
        self._journal = journal
        self._notices = notices
        self._refused: dict[str, Nano] = {}
        """By gateway, the worst case of what was refused last for its debts."""

    def __call__(self, gateway: str, worst: Nano) -> None:
        """Raises `Draining`, `WorkerBusy` or `Unpaid`."""
        if self._journal.trouble is not None:
            raise Draining(
                "the worker cannot keep what it would sign", retry_after_ms=RETRY_AFTER_MS
            )
        try:
            self._credit.reserve(gateway, worst)
        except Unpaid:
            self._refused[gateway] = worst
            self._notices.tell(
                _debts(gateway), f"gateway {gateway[:16]} owes too much: its requests are refused"
            )
            raise

    def look_again(self) -> None:
        """Take back what was told of gateways that would not be refused any more."""
        for gateway, worst in list(self._refused.items()):
            if self._credit.trusts(gateway, worst):
                del self._refused[gateway]
                self._notices.clear(_debts(gateway))


def _debts(gateway: str) -> str:
    return f"debts of {gateway[:16]}"
