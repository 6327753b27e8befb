"""SPEC.md and the tests name each other: every rule has a test, and no test invents a rule.

A rule ends with its anchor in brackets, a test names anchors with `@pytest.mark.spec("2.3-a")`.
"""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SPEC = (ROOT / "SPEC.md").read_text(encoding="utf-8")
ANCHOR = re.compile(r"\[(\d+(?:\.\d+)?-[a-z])\]")
CONVENTIONS = "The key words MUST, MUST NOT,"


def anchors() -> list[str]:
    return ANCHOR.findall(SPEC)


def marked() -> dict[str, list[str]]:
    """Anchors by the tests that name them, read and not run."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name, anchor in marks_of(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(anchor, []).append(f"{path.relative_to(ROOT)}::{name}")
    return found


def marks_of(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and is_mark(decorator.func):
                    yield from ((node.name, ast.literal_eval(one)) for one in decorator.args)


def is_mark(function: ast.expr) -> bool:
    return ast.unparse(function) == "pytest.mark.spec"


def test_every_rule_has_a_test_that_names_it() -> None:
    assert sorted(set(anchors()) - set(marked())) == []


def test_no_test_names_a_rule_that_is_not_there() -> None:
    assert {a: tests for a, tests in marked().items() if a not in anchors()} == {}


def test_every_anchor_stands_once() -> None:
    assert [anchor for anchor, times in Counter(anchors()).items() if times > 1] == []


def test_every_must_is_followed_by_its_anchor() -> None:
    bare = []
    for number, line in enumerate(SPEC.splitlines(), 1):
        tail = line[max((found.end() for found in ANCHOR.finditer(line)), default=0) :]
        if "MUST" in tail and CONVENTIONS not in line:
            bare.append((number, tail))
    assert bare == []


def test_an_anchor_stands_in_the_section_whose_number_it_has() -> None:
    section = ""
    for line in SPEC.splitlines():
        heading = re.match(r"## (\d+) ", line)
        section = heading.group(1) if heading else section
        for anchor in ANCHOR.findall(line):
            assert re.split(r"[.-]", anchor)[0] == section, anchor


def test_letters_of_a_section_have_no_gap() -> None:
    letters: dict[str, set[str]] = {}
    for anchor in anchors():
        number, _, letter = anchor.partition("-")
        letters.setdefault(number, set()).add(letter)
    for number, found in letters.items():
        assert sorted(found) == [chr(ord("a") + at) for at in range(len(found))], number


def test_negative_vectors_name_rules_that_are_there() -> None:
    vectors = json.loads((ROOT / "tests/vectors/negative.json").read_bytes())
    assert {case["section"] for case in vectors["cases"]} <= set(anchors())
