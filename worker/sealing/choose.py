"""Which sealing a machine has (SPEC 21)."""

import os

from worker.attest import vtpm
from worker.attest.confidential import SNP, DstackQuoter
from worker.attest.port import Quoter
from worker.sealing import snp_key
from worker.sealing.dstack_key import DstackSealing
from worker.sealing.file_key import FileSealing
from worker.sealing.port import Sealing
from worker.sealing.snp_key import SnpSealing
from worker.sealing.tpm_key import TpmSealing
from worker.settings import WorkerSettings


def choose_sealing(settings: WorkerSettings, quoter: Quoter) -> Sealing:
    """By what the machine attests with; a file where that has no key to give."""
    if isinstance(quoter, DstackQuoter):
        return DstackSealing(settings.dstack_socket)
    if quoter.platform == vtpm.PLATFORM:
        return TpmSealing(settings.tpm_device)
    if quoter.platform == SNP:
        if os.access(snp_key.DEVICE, os.R_OK | os.W_OK):
            return SnpSealing()
        return FileSealing(f"{snp_key.DEVICE} may not be used, so that the chip gives no key")
    return FileSealing(f"platform {quoter.platform} gives no key of its own")
