"""The home of a soak: the demo's, with a second key for conventions to be rotated to."""

from pathlib import Path
from typing import Final

from appliance.clock import SystemClock
from appliance.config import load_config
from appliance.tokens import token_settings
from bench.homes import RSA, amend
from bench.organisations import make_home
from hsm.provision.demo_pki import write_demo_pki
from hsm.provision.keygen import KeyPlan, generate_keys

KEYS: Final = ("demo-rsa", "soak-rsa")
"""The key that the convention signs with at first, and the one that it may be rotated to."""


def make_soak_home(home: Path) -> None:
    """Make a demo home with a second RSA key in its token, certified, and a convention that says how long its vectors live.

    Raises:
        SceneFailed: it cannot be made.
    """
    make_home(home)
    client = home / "conventions" / f"{RSA}.toml"
    amend(client, {'# lifetime = "1h"': 'lifetime = "1h"'})
    config = load_config(home)
    token = token_settings(config, config.tokens[0])
    [made] = generate_keys(token, [KeyPlan(KEYS[1], "04", "rsa-2048")])
    write_demo_pki(home / "pki" / "soak", {KEYS[1]: made.public_key}, SystemClock().now())
    file = home / "appliance.toml"
    table = (
        f'\n[[key]]\nname = "{KEYS[1]}"\ntoken = "{token.name}"\nlabel = "{KEYS[1]}"\nid = "04"\n'
        f'certificates = "pki/soak/{KEYS[1]}.pem"\n'
    )
    file.write_text(file.read_text() + table)
