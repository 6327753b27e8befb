"""Change every byte of every genuine file of evidence: `python -m tests.sweep` (minutes).

Each byte has one bit turned, and each file is cut at each length. Prints what was accepted and
fails if that was anything but what nobody signed.
"""

import sys
import time

from tests.sweep.targets import TARGETS, accepted_cuts, accepted_flips


def main() -> int:
    """0 if every change was refused."""
    broken = 0
    for target in TARGETS:
        begin = time.monotonic()
        size = len(target.data)
        flips = accepted_flips(target, range(size))
        cuts = accepted_cuts(target, range(size))
        broken += bool(flips or cuts)
        state = "BROKEN" if flips or cuts else "held  "
        seconds = time.monotonic() - begin
        sys.stdout.write(
            f"{state} {target.name:38} {size:6} bytes, {len(target.unsigned)} unsigned, "
            f"accepted flips {flips[:8]} cuts {cuts[:8]}, {seconds:.0f} s\n"
        )
        sys.stdout.flush()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
