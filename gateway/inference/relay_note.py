"""The gateway's own frame at the end of a broken answer (SPEC 3.5): clear, and unvouched for."""

from bombyx import canonical
from bombyx.envelope.documents import RelayNote
from bombyx.envelope.frames import FrameType, encode_frame
from bombyx.errors import BombyxError, RelayInterrupted


def note_frame(failure: BombyxError | None) -> bytes:
    """Why the stream broke off; retryable unless the error says otherwise."""
    error = failure or RelayInterrupted("the worker stopped before its answer was whole")
    note = RelayNote(code=error.code, retryable=error.should_retry is not False)
    return encode_frame(FrameType.RELAY_NOTE, 0, canonical.encode(note))
