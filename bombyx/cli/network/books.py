"""What a running gateway tells over HTTP: directory, receipts, ledger. Loopback, so no proxies."""

from typing import Any
from urllib.parse import urlencode

import httpx2

from bombyx.errors import GatewayUnreachable, RemoteError

_SECONDS = 5.0
_OK, _ACCEPTED = 200, 202
_USAGE_PAGE = 1000


class Books:
    """A gateway as its own operator asks it."""

    def __init__(self, gateway: str, *, api_key: str, admin_key: str) -> None:
        self._gateway = gateway
        self._api_key = api_key
        self._admin_key = admin_key
        self._http = httpx2.Client(timeout=_SECONDS, trust_env=False)

    def __repr__(self) -> str:
        return f"Books({self._gateway})"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def models(self) -> list[str]:
        """Names of the models that have a live offer."""
        listing = self._get("/v1/models", self._api_key)
        return sorted(str(model["id"]) for model in listing["data"])

    def directory(self, model: str) -> bytes:
        """The directory's bytes, for the client's own parser."""
        path = "/v1/confidential/workers?" + urlencode({"model": model})
        return self._fetch(path, self._api_key).content

    def receipt(self, request_id: str) -> dict[str, Any]:
        """State of a request and its receipt, by the id that its header carries."""
        return self._get(f"/v1/receipts/{request_id}", self._api_key)

    def receipt_of(self, c: str) -> dict[str, Any]:
        """The same by the commitment (hex)."""
        return self._get(f"/v1/receipts?{urlencode({'c': c})}", self._api_key)

    def ledger(self, limit: int = 100) -> dict[str, Any]:
        """The latest entries of all accounts, and the sum of the whole ledger."""
        return self._get(f"/admin/v1/ledger?limit={limit}", self._admin_key)

    def usage(self, since: str) -> list[dict[str, Any]]:
        """What was billed from a day on (YYYY-MM-DD, UTC), by day, account, key, tier and model."""
        rows: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            asked = {"from": since, "limit": _USAGE_PAGE} | ({"cursor": cursor} if cursor else {})
            page = self._get(f"/admin/v1/usage?{urlencode(asked)}", self._admin_key)
            rows += page["usage"]
            cursor = page.get("next_cursor")
        return rows

    def channels(self) -> list[dict[str, Any]]:
        """The account's payment channels, the newest first; `RemoteError` without a chain."""
        return [dict(one) for one in self._get("/v1/channels", self._api_key)["data"]]

    def channel_key(self) -> str:
        """The gateway's channel key, hex."""
        accepts = self._get("/v1/channels/terms", self._api_key)["accepts"]
        return str(accepts[0]["gateway_key"])

    def wallet(self) -> str:
        """The address of the gateway's wallet."""
        return str(self._get("/admin/v1/chain", self._admin_key)["address"])

    def claim(self, channel: str) -> None:
        """Have the gateway claim what a channel (hex) was charged, whatever a claim costs."""
        self._fetch(f"/admin/v1/channels/{channel}/claim", self._admin_key, "POST")

    def pay_by_channel(self, owner: str) -> None:
        """Have the gateway open a channel to an owner of workers, however little it owes."""
        self._fetch(f"/admin/v1/owners/{owner}/channel", self._admin_key, "POST")

    def _get(self, path: str, key: str) -> dict[str, Any]:
        document = self._fetch(path, key).json()
        if not isinstance(document, dict):
            raise RemoteError(f"the gateway's answer to {path} is no object")
        return document

    def _fetch(self, path: str, key: str, method: str = "GET") -> httpx2.Response:
        try:
            headers = {"authorization": f"Bearer {key}"}
            answer = self._http.request(method, self._gateway + path, headers=headers)
        except httpx2.HTTPError as error:
            raise GatewayUnreachable(
                f"the gateway at {self._gateway} does not answer: {type(error).__name__}"
            ) from None
        if answer.status_code not in (_OK, _ACCEPTED):
            raise RemoteError(f"the gateway answered {answer.status_code} to {path}")
        return answer
