"""A program with one PKCS#11 session, for tests of the shim: takes orders as lines, answers each with `ok …` or the exception's name.

`python -m tests.shim_client MODULE TOKEN_LABEL KEY_LABEL`, the PIN as the first line. Loads the module at the first order.
"""

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pkcs11
from pkcs11.mechanisms import Mechanism

DIGEST = hashlib.sha256(b"shim").digest()


class Client:
    """The other end: starts the program and gives it orders."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def tell(self, order: str) -> None:
        """Give an order without waiting."""
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        """Wait for the answer to an order."""
        return self.process.stdout.readline().rstrip("\n")

    def ask(self, order: str) -> str:
        """Give an order and wait for the answer."""
        self.tell(order)
        return self.hear()


@contextmanager
def run_client(
    module: Path, environment: Mapping[str, str], names: tuple[str, str], pin: str
) -> Iterator[Client]:
    """Run one until the block ends; `names` are the token's label and the key's."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.shim_client", module, *names],
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            client = Client(process)
            client.tell(pin)
            yield client
        finally:
            process.kill()


class _Session:
    """What the orders do."""

    def __init__(self, module: str, token: str, key: str, pin: str) -> None:
        self._module, self._token, self._label, self._pin = module, token, key, pin
        self._key = None

    def load(self) -> str:
        """Load and initialise the module."""
        library = pkcs11.lib(self._module)
        return str(library.manufacturer_id)

    def tokens(self) -> str:
        """Count the slots with a token, and all slots."""
        library = pkcs11.lib(self._module)
        return f"{len(library.get_slots(token_present=True))} {len(library.get_slots())}"

    def open(self) -> str:
        """Find the token, log in, find the key."""
        token = pkcs11.lib(self._module).get_token(token_label=self._token)
        session = token.open(user_pin=self._pin)
        self._key = session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, label=self._label)
        return token.serial.decode().strip()

    def sign(self) -> str:
        """Sign the digest."""
        return self._key.sign(DIGEST, mechanism=Mechanism.ECDSA).hex()


def main() -> None:
    """Obey until the orders end."""
    session = _Session(*sys.argv[1:], sys.stdin.readline().rstrip("\n"))
    orders: dict[str, Callable[[], str]] = {
        name: getattr(session, name) for name in ("load", "tokens", "open", "sign")
    }
    for line in sys.stdin:
        try:
            answer = f"ok {orders[line.strip()]()}"
        except pkcs11.PKCS11Error as exc:
            answer = type(exc).__name__
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
