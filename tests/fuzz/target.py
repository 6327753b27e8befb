"""One reader under atheris: `python -m tests.fuzz.target READER [libFuzzer's options] CORPUS`.

Whatever a reader may not raise ends the run with the bytes that made it do so.
"""

import sys
from importlib import import_module
from typing import Any


def main(arguments: list[str]) -> None:
    """Instrument the library while it is imported, then fuzz until the options say stop."""
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["bombyx"], enable_loader_override=False):
        readers = import_module("tests.fuzz.readers")
    errors = import_module("bombyx.errors")
    reader = readers.READERS[arguments[1]]

    def read(data: bytes) -> None:
        try:
            reader.read(data)
        except (errors.BombyxError, *reader.also):
            return

    atheris.Setup([arguments[0], *arguments[2:]], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
