"""`docs/known-attacks.md` and the tests it names belong together."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ATTACKS = ROOT / "tests" / "attacks"


def test_every_answer_has_its_test() -> None:
    """Each test that the page names is there, and each file of attacks is named by it."""
    page = (ROOT / "docs" / "known-attacks.md").read_text()
    named = set(re.findall(r"`((?:tests/)?[\w/]+\.py)`", page))
    for name in named:
        file = ROOT / name if name.startswith("tests/") else ATTACKS / name
        assert file.is_file(), name
    assert {file.name for file in ATTACKS.glob("test_*.py")} <= named


def test_no_attack_is_without_answer_or_test() -> None:
    """Every row says what we answer and where that is shown; `same` is the row above."""
    rows = re.findall(r"^\|(.+)\|$", (ROOT / "docs" / "known-attacks.md").read_text(), re.MULTILINE)
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    attacks = [row for row in cells if row[0] not in {"attack", "---"}]
    assert len(attacks) > 40
    for row in attacks:
        assert len(row) == 4, row
        assert row[2], row
        assert re.search(r"test_|same|make fuzz|tests/", row[3]), row
