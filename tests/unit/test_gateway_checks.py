"""The gateway's tables: what cannot work is refused with file, key and what was expected."""

from pathlib import Path

import pytest

from appliance.config import load_config
from appliance.errors import ConfigurationError

PARTNER = {
    "name": '"b"',
    "roots": '["pki/b.pem"]',
    "crl_directory": '"pki/crl"',
    "endpoints": '["https://b.example:8443"]',
}
OUTBOUND = {"name": '"out"', "listen": '"127.0.0.1:8450"'}
INBOUND = {
    "name": '"in"',
    "listen": '"0.0.0.0:8443"',
    "certificates": '"pki/f.pem"',
    "private_key": '"secrets/f.key"',
    "partners": '["b"]',
}
FORWARD = {"path": '"/a"', "forward": '"http://127.0.0.1:9000/a"'}
ROUTE = {"path": '"/a"', "convention": '"c"', "partner": '"b"'}


def write(
    home: Path,
    partner: dict[str, str | None] | None = None,
    outbound: dict[str, str | None] | None = None,
    route: dict[str, str | None] | None = None,
    inbound: dict[str, str | None] | None = None,
    forward: dict[str, str | None] | None = None,
) -> Path:
    """Write a gateway; values replace those of one that works, None leaves one out."""
    tables = (
        ("[[partner]]", PARTNER | (partner or {})),
        ("[[outbound]]", OUTBOUND | (outbound or {})),
        ("[[outbound.route]]", ROUTE | (route or {})),
        ("[[inbound]]", INBOUND | (inbound or {})),
        ("[[inbound.route]]", FORWARD | (forward or {})),
    )
    lines = [
        line
        for head, keys in tables
        for line in (head, *(f"{key} = {value}" for key, value in keys.items() if value))
    ]
    (home / "appliance.toml").write_text("\n".join(lines) + "\n")
    return home


def test_paths_are_relative_to_the_home(tmp_path: Path) -> None:
    """What the tables name lies in the home."""
    config = load_config(write(tmp_path))
    [partner] = config.gateway.partners
    assert partner.roots == (tmp_path.resolve() / "pki/b.pem",)
    assert config.gateway.outbound[0].body_limit == 1024**3


WRONG = [
    ("partner", {"roots": "[]"}, "partner[0].roots"),
    ("partner", {"names": '["CN="]'}, "partner[0].names[0]"),
    ("partner", {"endpoints": '["http://b.example"]'}, "partner[0].endpoints[0]"),
    ("partner", {"endpoints": '["https://b.example/?x"]'}, "partner[0].endpoints[0]"),
    ("partner", {"endpoints": '["https://b.example:99999"]'}, "partner[0].endpoints[0]"),
    ("partner", {"client_key": '"k"'}, "partner[0].client_certificates"),
    ("partner", {"answer": '"0s"'}, "partner[0].answer"),
    ("partner", {"unknown": "1"}, "partner[0]"),
    ("outbound", {"listen": '"0.0.0.0:8450"'}, "outbound[0].listen"),
    ("outbound", {"listen": '"nowhere"'}, "outbound[0].listen"),
    (
        "outbound",
        {"listen": '"unix:run/o"', "callers_by_address": '{ "::1" = "x" }'},
        "outbound[0].listen",
    ),
    ("outbound", {"callers_by_address": '{ "here" = "x" }'}, "outbound[0].callers_by_address"),
    ("outbound", {"client_roots": '["r"]'}, "outbound[0].client_roots"),
    ("outbound", {"private_key": '"k"'}, "outbound[0].certificates"),
    ("outbound", {"signed_limit": '"2GiB"'}, "outbound[0].signed_limit"),
    ("route", {"partner": '"nobody"'}, "outbound[0].route[0].partner"),
    ("route", {"path": '"a b"'}, "outbound[0].route[0].path"),
    ("route", {"target": '"?x"'}, "outbound[0].route[0].target"),
    ("route", {"operation": '"{a}b c"'}, "outbound[0].route[0].operation"),
    ("route", {"subject": '"username-token"'}, "outbound[0].route[0].existing"),
    ("route", {"subject": '"somebody"'}, "outbound[0].route[0].subject"),
    ("route", {"subject_header": '"X Subject"'}, "outbound[0].route[0].subject_header"),
    ("route", {"subject_header": '"Content-Type"'}, "outbound[0].route[0].subject_header"),
    ("route", {"roles_header": '"x-subject"'}, "outbound[0].route[0].roles_header"),
    ("forward", {"jwt_header": '"SOAPAction"'}, "inbound[0].route[0].jwt_header"),
    ("forward", {"pagm_header": '"X-Interops-SUBJECT"'}, "inbound[0].route[0].pagm_header"),
    ("inbound", {"listen": '"unix:x"'}, "inbound[0].listen"),
    ("inbound", {"listen": '"127.0.0.1:8450"'}, "inbound[0].listen"),
    ("inbound", {"partners": '["c"]'}, "inbound[0].partners"),
    ("inbound", {"signed_limit": '"2GiB"'}, "inbound[0].signed_limit"),
    ("forward", {"forward": '"http://app.example/"'}, "inbound[0].route[0].forward"),
    ("forward", {"forward": '"https://app.example/"'}, "inbound[0].route[0].forward_roots"),
    ("forward", {"forward": '"ftp://127.0.0.1/"'}, "inbound[0].route[0].forward"),
    ("forward", {"identity": '"jwt"'}, "inbound[0].route[0].identity"),
    ("forward", {"jwt_lifetime": '"61s"'}, "inbound[0].route[0].jwt_lifetime"),
    ("forward", {"open_operations": '{ "{a" = "" }'}, "inbound[0].route[0].open_operations"),
    ("outbound", {"client_crl_directory": '"pki/crl"'}, "outbound[0].client_crl_directory"),
    ("route", {"queries": '["service=A#b"]'}, "outbound[0].route[0].queries[0]"),
    ("forward", {"queries": '["", "a b"]'}, "inbound[0].route[0].queries[0]"),
    ("route", {"roles": '["r"]', "pagms": '["P"]'}, "outbound[0].route[0].pagms"),
]


@pytest.mark.parametrize(
    ("table", "values", "key"), WRONG, ids=[f"{w[2]}-{n}" for n, w in enumerate(WRONG)]
)
def test_what_cannot_work_is_refused(
    tmp_path: Path, table: str, values: dict[str, str | None], key: str
) -> None:
    """The refusal names file and key."""
    with pytest.raises(ConfigurationError) as raised:
        load_config(write(tmp_path, **{table: values}))
    assert raised.value.key == key
    assert raised.value.expected


def test_the_same_twice_is_refused(tmp_path: Path) -> None:
    """Two routes that no message could tell apart, and names that stand twice."""
    text = (write(tmp_path) / "appliance.toml").read_text()
    route = text[text.index("[[outbound.route]]") : text.index("[[inbound]]")]
    partner = text[: text.index("[[outbound]]")]
    for more, key in ((route, "outbound[0].route[1]"), (partner, "partner[1].name")):
        there = text.index("[[inbound]]") if more is route else 0
        (tmp_path / "appliance.toml").write_text(text[:there] + more + text[there:])
        with pytest.raises(ConfigurationError) as raised:
            load_config(tmp_path)
        assert raised.value.key == key


def test_a_listener_without_route_serves_nothing(tmp_path: Path) -> None:
    """It is a mistake that nobody would notice."""
    text = (write(tmp_path) / "appliance.toml").read_text()
    for side in ("outbound", "inbound"):
        start = text.index(f"[[{side}.route]]")
        end = text.index("[[inbound]]") if side == "outbound" else len(text)
        (tmp_path / "appliance.toml").write_text(text[:start] + text[end:])
        with pytest.raises(ConfigurationError) as raised:
            load_config(tmp_path)
        assert raised.value.key == f"{side}[0].route"
