"""What the load tools refuse of their command lines before anything is run."""

import argparse
from pathlib import Path

import pytest

from bench import ceiling, faults, gateway, lanes, load, peers, report, soak

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


@pytest.mark.parametrize("tool", [load, report])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--url", "http://127.0.0.1:1", "--ca", "/a"], "--ca: for TLS, and --url is an http:// one; write https://, or leave it out"),
        (["--url", "http://127.0.0.1:1", "--cert", "/a", "--key", "/b"], "--cert, --key: for TLS, and"),
        (["--url", "https://127.0.0.1:1", "--ca", "/a", "--key", "/b"], "--key: of a certificate; name it with --cert, or leave it out"),
        (["--home", "/nowhere", "--ca", "/a", "--bearer-file", "/b"], "--ca, --bearer-file: for a service that is reached by --url; name it, or leave them out"),
    ],
)  # fmt: skip
def test_what_would_be_passed_over_is_refused(
    tool: object,
    arguments: list[str],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Files of TLS where there is none, and a key without its certificate: the sentence says what to change."""
    parser = argparse.ArgumentParser()
    tool.add_arguments(parser)
    directory = [str(tmp_path / "r")] if tool is report else []
    assert tool.run(parser.parse_args([*directory, *arguments])) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["http://:pin@h", "http://u@h", "http://h?q", "http://h#f", "http://h/p"]
)
def test_an_address_is_a_host_and_a_port(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else would be passed over; a password in it, stated with the command line."""
    parser = argparse.ArgumentParser()
    load.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--url", url])
    assert "expected http://HOST[:PORT]" in capsys.readouterr().err
