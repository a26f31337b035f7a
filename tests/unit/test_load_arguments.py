"""What the load tools refuse of their command lines before anything is run."""

import argparse

import pytest

from bench import ceiling, faults, gateway, lanes, peers, report, soak

WHOLE, ABOVE = "expected a whole number of 1 or more", "expected a number above 0"


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        (soak, ["--minutes", "inf"], ABOVE),
        (soak, ["--cycle", "nan"], ABOVE),
        (gateway, ["--seconds", "inf"], ABOVE),
        (gateway, ["--connections", "0"], WHOLE),
        (gateway, ["--rate", "-1"], ABOVE),
        (lanes, ["--workers", "0"], WHOLE),
        (lanes, ["--batch", "0"], WHOLE),
        (lanes, ["--rounds", "0"], WHOLE),
        (lanes, ["--lanes", "1,"], WHOLE),
        (ceiling, ["--seconds", "0"], ABOVE),
        (faults, ["--cycles", "0"], WHOLE),
        (peers, ["--rounds", "²"], WHOLE),
        (report, ["r", "--rounds", "0"], WHOLE),
        (report, ["r", "--seconds", "0"], ABOVE),
    ],
)
def test_numbers_that_make_no_measurement(
    tool: object, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing to count, or nothing that ends, is refused by the name of the option."""
    parser = argparse.ArgumentParser()
    tool.add_arguments(parser)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(arguments)
    assert ended.value.code == 2
    assert f"argument {arguments[-2]}: {says}" in capsys.readouterr().err
