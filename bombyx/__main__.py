"""`python -m bombyx`: the console script, for where only the interpreter is known."""

from bombyx.cli.main import run

if __name__ == "__main__":
    run()
