"""The cases of `make_evidence`: an honest simulated machine with one thing wrong each.

The table of `tests.bombyx.attestation.test_verify` comes first; what follows are machines, vendors
and authorities that lie in ways that only they could.
"""

import base64
import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from cryptography.hazmat.primitives import serialization

from bombyx.attestation.collateral import Collateral
from bombyx.attestation.policy_names import TCB_STATUSES
from tests.bombyx.attestation.test_verify import FAULTS, FOREIGN, FOREIGN_ROOT, quote_under
from tests.bombyx.attestation.world import (
    COLLATERAL,
    DAY,
    HONEST,
    KEYSET,
    NOW,
    PLATFORM,
    ROOT,
    Offer,
    body,
    evidence_of,
    offer,
    policy_table,
    simulated_rules,
)
from worker.attest.simulated_certificates import (
    Authority,
    issue_authority,
    issue_leaf,
    pem_chain,
    revocation_list,
    sign_raw,
)
from worker.attest.simulated_collateral import mint_collateral
from worker.attest.simulated_platform import SimulatedPlatform
from worker.attest.simulated_root import root_sha256

Edit = Callable[[dict[str, Any]], None]
HEX48, SIGNED_BYTES = "01" * 48, 632


def changed(**fields: str) -> Offer:
    """The honest machine with other collateral."""
    return quote_under(msgspec.structs.replace(COLLATERAL, **fields))


def edited(part: str, edit: Edit, signer: Authority = PLATFORM.tcb_signer) -> Offer:
    """The honest machine, of which the vendor says something else under a valid signature."""
    document = json.loads(getattr(COLLATERAL, part))
    edit(document)
    text = json.dumps(document, separators=(",", ":"))
    signature = sign_raw(signer.key, text.encode()).hex()
    chain = pem_chain(signer.certificate, ROOT.authority.certificate).decode()
    return changed(**{part: text, f"{part}_signature": signature, f"{part}_issuer_chain": chain})


def tcb(**fields: Any) -> Offer:
    """Other fields of the TCB info."""
    return edited("tcb_info", lambda document: document.update(fields))


def level(index: str, at: int, svn: int) -> Offer:
    """One patch level of the vendor's list, higher or lower."""

    def edit(document: dict[str, Any]) -> None:
        document["tcbLevels"][0]["tcb"][index][at]["svn"] = svn

    return edited("tcb_info", edit)


def two_levels(document: dict[str, Any]) -> None:
    """The newest level is beyond the machine, the one below it is out of date."""
    lower = json.loads(json.dumps(document["tcbLevels"][0]))
    document["tcbLevels"][0]["tcb"]["pcesvn"] += 1
    document["tcbLevels"].append({**lower, "tcbStatus": "OutOfDate", "advisoryIDs": ["A-1"]})


def module(document: dict[str, Any], **fields: Any) -> None:
    """Other fields of the one TDX module that the vendor knows."""
    document["tdxModuleIdentities"][0].update(fields)


def enclave(**fields: Any) -> Offer:
    """Other fields of the quoting enclave's identity."""
    return edited("qe_identity", lambda document: document.update(fields))


def enclave_of(status: str) -> Offer:
    """The vendor's word on the quoting enclave's patch level alone."""

    def edit(document: dict[str, Any]) -> None:
        document["tcbLevels"][0]["tcbStatus"] = status

    return edited("qe_identity", edit)


def raw_offer(quote: bytes, collateral: Collateral = COLLATERAL) -> Offer:
    """Any bytes as the quote."""
    return Offer(KEYSET, evidence_of(quote, collateral), collateral)


def resigned(at: int, value: int) -> Offer:
    """The honest quote with another byte under a valid signature."""
    quote = PLATFORM.quote(body())
    said = bytearray(quote[:SIGNED_BYTES])
    said[at] = value
    signature = sign_raw(PLATFORM.attestation_key, bytes(said))
    size = quote[SIGNED_BYTES : SIGNED_BYTES + 4]
    return raw_offer(bytes(said) + size + signature + quote[SIGNED_BYTES + 68 :])


def certified_by(leaf: Authority, authority: Authority = PLATFORM.authority) -> Offer:
    """A machine with other certificates, and the collateral that goes with them."""
    platform = dataclasses.replace(PLATFORM, certificate=leaf, authority=authority)
    return offer(platform=platform, collateral=mint_collateral(platform, now=NOW))


def _lists() -> Iterator[tuple[str, Offer]]:
    authority, root = PLATFORM.authority, ROOT.authority
    foreign = dataclasses.replace(authority, key=FOREIGN.authority.key)
    pck, last = PLATFORM.certificate.certificate, DAY
    yield "a forged list of platforms", changed(pck_crl=revocation_list(foreign, [], now=NOW).hex())
    forged = dataclasses.replace(root, key=FOREIGN.root.key)
    yield (
        "a forged list of authorities",
        changed(root_ca_crl=revocation_list(forged, [], now=NOW).hex()),
    )
    yield (
        "the lists in each other's place",
        changed(pck_crl=COLLATERAL.root_ca_crl, root_ca_crl=COLLATERAL.pck_crl),
    )
    yield "the root's list twice", changed(pck_crl=COLLATERAL.root_ca_crl)
    yield (
        "the platform revoked among others",
        changed(pck_crl=revocation_list(authority, [authority.certificate, pck], now=NOW).hex()),
    )
    others = [FOREIGN.certificate.certificate]
    yield "only others revoked", changed(pck_crl=revocation_list(authority, others, now=NOW).hex())
    yield (
        "the collateral's signer revoked",
        changed(
            root_ca_crl=revocation_list(root, [PLATFORM.tcb_signer.certificate], now=NOW).hex()
        ),
    )
    yield (
        "a list that ended",
        changed(pck_crl=revocation_list(authority, [], now=NOW - 30 * DAY - last).hex()),
    )
    yield (
        "the authorities' list ended",
        changed(root_ca_crl=revocation_list(root, [], now=NOW - 31 * DAY).hex()),
    )
    for name in ("pck_crl", "root_ca_crl"):
        text = getattr(COLLATERAL, name)
        yield f"{name} with a byte behind it", changed(**{name: text + "00"})
        yield f"{name} cut short", changed(**{name: text[:-2]})
        yield f"{name} is no list", changed(**{name: "3000"})


def _vendor() -> Iterator[tuple[str, Offer]]:
    zeros = ["00" * 48, "00" * 8]
    yield "the FMSPC in lower case", tcb(fmspc="5353494d0001")
    yield "TCB info of another certification enclave", tcb(pceId="0001")
    yield "TCB info of no certification enclave", tcb(pceId="")
    yield "TCB info of SGX", tcb(id="SGX")
    yield "TCB info of version 2", tcb(version=2)
    yield "TCB info without levels", tcb(tcbLevels=[])
    yield "TCB info without modules", tcb(tdxModuleIdentities=[])
    yield (
        "TCB info of a status that no policy knows",
        edited("tcb_info", lambda document: document["tcbLevels"][0].update(tcbStatus="Splendid")),
    )
    yield (
        "TD relaunch advised",
        edited(
            "tcb_info",
            lambda document: document["tcbLevels"][0].update(tcbStatus="TDRelaunchAdvised"),
        ),
    )
    yield "a platform below its only level", level("sgxtcbcomponents", 0, 4)
    yield "a platform above its level", level("sgxtcbcomponents", 0, 2)
    yield "a component below its only level", level("tdxtcbcomponents", 2, 4)
    yield "the module's own components do not count twice", level("tdxtcbcomponents", 0, 99)
    yield "an out-of-date level below the newest", edited("tcb_info", two_levels)
    for name, fields in (
        ("another signer", {"mrsigner": HEX48}),
        ("other attributes", {"attributes": "01" + "00" * 7}),
        ("another id", {"id": "TDX_02"}),
        ("a higher level", {"tcbLevels": [{"tcb": {"isvsvn": 8}, "tcbDate": "2027-01-14T08:00:00Z",
                                           "tcbStatus": "UpToDate"}]}),
    ):  # fmt: skip
        yield (
            f"a TDX module of {name}",
            edited(
                "tcb_info",
                lambda document, fields=fields: module(document, **fields),  # type: ignore[misc]
            ),
        )
    yield (
        "another module 1.0",
        tcb(tdxModule={"mrsigner": HEX48, "attributes": zeros[1], "attributesMask": "FF" * 8}),
    )
    yield "an enclave of another signer", enclave(mrsigner="00" * 32)
    yield "an enclave of another product", enclave(isvprodid=1)
    yield "an enclave of other attributes", enclave(attributes="13" + "00" * 15)
    yield "an enclave of other selections", enclave(miscselect="00000001")
    yield "an enclave's identity of SGX", enclave(id="QE")
    yield "an enclave's identity of version 1", enclave(version=1)
    yield "an enclave below its only level", enclave(
        tcbLevels=[{"tcb": {"isvsvn": 5}, "tcbDate": "2027-01-14T08:00:00Z",
                    "tcbStatus": "UpToDate"}]
    )  # fmt: skip
    yield "an enclave without levels", enclave(tcbLevels=[])
    for status in (*TCB_STATUSES, "Revoked", "TDRelaunchAdvised", "Splendid"):
        yield f"an enclave of the status {status}", enclave_of(status)


def _authorities() -> Iterator[tuple[str, Offer]]:
    def same(_: dict[str, Any]) -> None:
        """Change nothing: only who signed it differs."""

    root, made = ROOT.authority, issue_leaf("SIMULATED other", ROOT.authority, now=NOW)
    yield "collateral by another signer of the root", edited("tcb_info", same, made)
    below = issue_leaf("SIMULATED NOT INTEL TCB Signing", PLATFORM.authority, now=NOW)
    yield "collateral by a signer below another authority", edited("tcb_info", same, below)
    yield "collateral by the platform's own key", edited("tcb_info", same, PLATFORM.certificate)
    yield "collateral by a foreign signer", edited("qe_identity", same, FOREIGN.tcb_signer)
    yield "collateral by an authority", edited("tcb_info", same, PLATFORM.authority)
    late = issue_leaf("SIMULATED late", root, now=NOW + 2 * DAY)
    yield "collateral by a signer of tomorrow", edited("tcb_info", same, late)
    yield "collateral by the root", edited("tcb_info", same, root)
    name = "SIMULATED NOT INTEL PCK Certificate"
    authority = PLATFORM.authority
    yield "a platform without a description", certified_by(issue_leaf(name, authority, now=NOW))
    yield "a platform that is an authority", certified_by(issue_authority(name, authority, now=NOW))
    yield (
        "a platform described by an authority",
        certified_by(dataclasses.replace(PLATFORM.certificate, certificate=made.certificate)),
    )
    fake = issue_leaf("SIMULATED NOT INTEL PCK Platform CA", root, now=NOW)
    yield "an authority that may not be one", certified_by(issue_leaf(name, fake, now=NOW), fake)
    ended = SimulatedPlatform.create(ROOT, now=NOW - 3651 * DAY)
    yield (
        "a platform whose certificates ended",
        offer(platform=ended, collateral=mint_collateral(ended, now=NOW)),
    )
    early = SimulatedPlatform.create(ROOT, now=NOW + 2 * DAY)
    yield (
        "a platform of the day after tomorrow",
        offer(platform=early, collateral=mint_collateral(early, now=NOW)),
    )
    yield "a chain in another order", _with_chain(authority, PLATFORM.certificate, root)
    yield "a chain without its root", _with_chain(PLATFORM.certificate, authority, authority)
    yield (
        "a chain that ends in a foreign root",
        _with_chain(PLATFORM.certificate, authority, FOREIGN_ROOT.authority),
    )


def _with_chain(*chain: Authority) -> Offer:
    """The honest quote with other certificates behind it."""
    quote = PLATFORM.quote(body())
    at = quote.index(b"-----BEGIN CERTIFICATE-----")
    pem = pem_chain(*(one.certificate for one in chain))
    difference = len(pem) - (len(quote) - at)
    out = bytearray(quote[:at] + pem)
    for place, size in ((at - 4, len(pem)), (632, None), (766, None)):
        old = int.from_bytes(quote[place : place + 4], "little")
        new = size if size is not None else old + difference
        out[place : place + 4] = new.to_bytes(4, "little")
    return raw_offer(bytes(out))


def _quotes() -> Iterator[tuple[str, Offer]]:
    honest = PLATFORM.quote(body())
    yield "the same quote made again", raw_offer(honest)
    yield "a quote with a byte behind it", raw_offer(honest + b"\0")
    yield "a quote with a line behind it", raw_offer(honest + b"\n")
    for size in (0, 1, 47, 631, 636, 1100):
        yield f"a quote cut at {size}", raw_offer(honest[:size])
    yield "a quote without its last byte", raw_offer(honest[:-1])
    for what, at, value in (
        ("another version", 0, 5),
        ("another key type", 2, 3),
        ("another kind of TEE", 4, 0),
        ("another vendor of the enclave", 12, 0),
        ("another patch level of the enclave", 8, 9),
        ("reserved attributes", 48 + 120, 2),
        ("another seam", 48 + 16, 1),
        ("another seam signer", 48 + 64, 1),
        ("other seam attributes", 48 + 112, 1),
        ("another owner", 48 + 232, 1),
        ("another owner's configuration", 48 + 280, 1),
        ("a middle RTMR", 48 + 376, 1),
    ):
        yield f"a signed quote of {what}", resigned(at, value)
    other = dataclasses.replace(PLATFORM, attestation_key=FOREIGN.attestation_key)
    yield "another attestation key of the same platform", offer(platform=other)
    spliced = bytearray(honest)
    spliced[700:764] = other.quote(body())[700:764]
    yield "an attestation key that the enclave does not name", raw_offer(bytes(spliced))
    der = PLATFORM.certificate.certificate.public_bytes(serialization.Encoding.DER)
    text = base64.b64encode(der).decode()
    yield (
        "certificates on one long line",
        raw_offer(honest.replace(text[64:128].encode(), text[64:127].encode() + b"\n")),
    )


def offers() -> list[tuple[str, Offer]]:
    """Every machine with its unique name."""
    found = [("an honest machine", HONEST)]
    found += [(f"{step}: {sentence}", it) for sentence, it, step in FAULTS]
    for more in (_lists(), _vendor(), _authorities(), _quotes()):
        found += list(more)
    seen: Counter[str] = Counter()
    unique = []
    for name, it in found:
        seen[name] += 1
        unique.append((name if seen[name] == 1 else f"{name} ({seen[name]})", it))
    return unique


def policies() -> Iterator[tuple[str, dict[str, Any]]]:
    """The honest machine under other rules and at other times."""
    foreign = root_sha256(FOREIGN_ROOT)
    tables: list[tuple[str, dict[str, Any]]] = [
        ("no platform", {"platforms": []}),
        ("other platforms", {"platforms": ["tdx", "sev-snp", "vtpm"]}),
        ("no simulated rules", {"simulated": {}}),
        ("no root", {"simulated": simulated_rules(roots=[])}),
        ("a foreign root", {"simulated": simulated_rules(roots=[foreign])}),
        ("no status", {"simulated": simulated_rules(accepted_tcb=[])}),
        ("another status", {"simulated": simulated_rules(accepted_tcb=["OutOfDate"])}),
        ("no image", {"simulated": simulated_rules(mr_td=[])}),
        ("no model", {"models": {}}),
        ("no weights", {"models": {"smol": {"engines": ["bb" * 32]}}}),
        ("no engine", {"models": {"smol": {"weights": ["aa" * 32]}}}),
        ("more models", {"models": {**policy_table()["models"], "other": {}}}),
    ]
    for name, table in tables:
        yield f"a policy of {name}", {"policy": table}
    for name, now in (
        ("before the keyset may be so young", NOW - 2 * DAY),
        ("a second before the keyset ends", NOW + 3599),
        ("when the keyset ends", NOW + 3600),
    ):
        yield f"an honest machine {name}", {"now": now}
