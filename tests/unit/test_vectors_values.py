"""Dates, identifiers and characters of a vector."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, strategies as st
from lxml import etree

from appliance.clock import FixedClock, format_instant
from appliance.vectors.assertion import new_vector
from appliance.vectors.characters import is_stated, is_xml_text, shorten
from appliance.vectors.conditions import is_over, is_reached, read_instant
from appliance.vectors.identifiers import is_of_style, write_assertion_id
from appliance.vectors.model import AuthorizedRequest
from tests.partners import CLIENT
from tests.pki import NOW

SOME_UUID = UUID("1e54f0a3-8c4c-4b0b-8d5c-1f6a3a2b9f10")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-02T10:00:00Z", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("2026-03-02T10:00:00.5Z", datetime(2026, 3, 2, 10, 0, 0, 500_000, UTC)),
        ("2026-03-02T10:00:00.123456789Z", datetime(2026, 3, 2, 10, 0, 0, 123_456, UTC)),
        ("2026-03-02T12:00:00.000+02:00", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("2026-03-02T04:30:00-05:30", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        (" 2226-03-02T10:00:00Z\n", datetime(2226, 3, 2, 10, tzinfo=UTC)),
    ],
)
def test_instants(text: str, expected: datetime) -> None:
    """An xs:dateTime with zone is the instant it says, in UTC."""
    read = read_instant(text)
    assert read == expected
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-02",
        "2026-03-02T10:00:00",
        "2026-03-02 10:00:00Z",
        "2026-03-02T10:00Z",
        "2026-02-30T10:00:00Z",
        "2026-03-02T24:00:00Z",
        "2026-03-02T10:00:60Z",
        "2026-03-02T10:00:00+15:00",
        "2026-03-02T10:00:00+02",
        "0026-03-02T10:00:00Z",
        "12026-03-02T10:00:00Z",
        "-2026-03-02T10:00:00Z",
        "9999-12-31T23:59:59-14:00",
        "٢٠٢٦-03-02T10:00:00Z",
    ],
)
def test_not_an_instant(text: str) -> None:
    """Without zone, out of range, or of another form: refused."""
    with pytest.raises(ValueError, match=r"."):
        read_instant(text)


@given(
    st.datetimes(
        min_value=datetime(1000, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
        max_value=datetime(9999, 12, 30),  # noqa: DTZ001 - hypothesis adds the zone
        timezones=st.just(UTC),
    )
)
def test_what_we_write_we_read(instant: datetime) -> None:
    """`read_instant` undoes `format_instant`, to the millisecond."""
    milliseconds = instant.replace(microsecond=instant.microsecond // 1000 * 1000)
    assert read_instant(format_instant(instant)) == milliseconds


def test_period_bounds() -> None:
    """The beginning counts, the end does not; skew widens both; extreme dates do not overflow."""
    tick, skew = timedelta(microseconds=1), 60.0
    assert is_reached(NOW, NOW)
    assert not is_reached(NOW + tick, NOW)
    assert is_reached(NOW + timedelta(seconds=60), NOW, skew)
    assert is_over(NOW, NOW)
    assert not is_over(NOW + tick, NOW)
    assert not is_over(NOW - timedelta(seconds=60) + tick, NOW, skew)
    assert is_over(NOW - timedelta(seconds=60), NOW, skew)
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert is_reached(first, last, 1e9)
    assert not is_over(last, first, 1e9)


def test_identifier_styles() -> None:
    """What we write in a style is accepted as that style; a prefix keeps a UUID from being one."""
    bare, prefixed = write_assertion_id(SOME_UUID, "uuid"), write_assertion_id(SOME_UUID, "xs-id")
    assert (bare, prefixed) == (str(SOME_UUID), f"_{SOME_UUID}")
    assert is_of_style(bare, "uuid")
    assert not is_of_style(bare, "xs-id")  # starts with a digit
    assert is_of_style(prefixed, "xs-id")
    assert not is_of_style(prefixed, "uuid")


@pytest.mark.parametrize(
    ("text", "is_uuid", "is_xs_id"),
    [
        ("F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6", True, True),
        ("f81d4fae7dec11d0a76500a0c91e6bf6", False, True),
        ("{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}", False, False),
        ("f81d4fae-7dec-11d0-a765-00a0c91e6bf6\n", False, False),
        ("pfx41d8ef22", False, True),
        ("with space", False, False),
        ("a:b", False, False),
        ("été-1.2_3", False, True),
    ],
)
def test_identifiers_received(text: str, *, is_uuid: bool, is_xs_id: bool) -> None:
    """A UUID in its one written form; an NCName as XML has it; `any` takes all."""
    assert is_of_style(text, "uuid") is is_uuid
    assert is_of_style(text, "xs-id") is is_xs_id
    assert is_of_style(text, "any")


@given(st.text(max_size=3))
def test_xml_text_is_what_libxml2_takes(text: str) -> None:
    """`is_xml_text` agrees with libxml2 about every character."""
    try:
        etree.Element("a").text = text
    except ValueError:
        carried = False
    else:
        carried = True
    assert is_xml_text(text) is carried


def test_stated_text() -> None:
    """A configured text must survive trimming, or it could never be equal to a received one."""
    assert is_stated("urn:a b")
    assert not any(map(is_stated, ("", " ", "a ", "\na", "a\x0b")))


def test_shortening() -> None:
    """An error repeats a received text up to a bound."""
    assert shorten("a" * 256) == "a" * 256
    assert shorten("a" * 257) == "a" * 256 + "…"


def test_new_vector_has_its_instants() -> None:
    """Back-dating and lifetime count from the issue; without an own instant the user was authenticated at issue."""
    request = AuthorizedRequest(
        convention=CLIENT.id,
        issuer=CLIENT.issuer,
        audience=CLIENT.audience,
        recipient=CLIENT.recipient,
        subject=None,
        name_id=CLIENT.no_user,
        name_id_format=CLIENT.name_id_format,
        pagms=("PAGM_GESTION",),
        level=CLIENT.levels[0],
        authn_instant=None,
        attributes={},
        lifetime=3600.0,
        back_dating=10.0,
        id_style="uuid",
        key="signer",
        signature_algorithm=CLIENT.signature_algorithm,
    )
    vector = new_vector(request, FixedClock(NOW), lambda: SOME_UUID)
    assert vector.assertion_id == str(SOME_UUID)
    assert vector.issue_instant == vector.authn_instant == "2026-03-02T10:00:00.000Z"
    assert vector.not_before == "2026-03-02T09:59:50.000Z"
    assert vector.not_on_or_after == "2026-03-02T11:00:00.000Z"
    earlier = msgspec.structs.replace(
        request, authn_instant=NOW - timedelta(hours=1), id_style="xs-id"
    )
    vector = new_vector(earlier, FixedClock(NOW), lambda: SOME_UUID)
    assert vector.assertion_id == f"_{SOME_UUID}"
    assert vector.authn_instant == "2026-03-02T09:00:00.000Z"
