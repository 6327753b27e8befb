"""A genuine machine's quote and collateral (`data/genuine_tdx.json` says whose)."""

import base64
import json
from pathlib import Path

from bombyx.attestation.collateral import Collateral

_FILE = json.loads((Path(__file__).parent / "data" / "genuine_tdx.json").read_bytes())
QUOTE = base64.b64decode(_FILE["quote"])
COLLATERAL = Collateral(**_FILE["collateral"])
NOW: int = _FILE["now"]
