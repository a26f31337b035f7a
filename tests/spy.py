"""The spying PKCS#11 module (`spy_module.c`) between a lane and SoftHSM: counts logins, hangs and fails on command."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from hsm.settings import TokenSettings

_SOURCE = Path(__file__).with_name("spy_module.c")


@dataclass(frozen=True)
class Spy:
    """One compiled module and the directory through which it is told what to do."""

    module: Path
    directory: Path

    def environment(self, real: str) -> dict[str, str]:
        """What the module reads from its environment."""
        return {"SPY_MODULE": real, "SPY_DIRECTORY": str(self.directory)}

    def watch(self, token: TokenSettings) -> TokenSettings:
        """Describe the token as reached through the spy."""
        environment = token.environment | self.environment(token.module)
        return msgspec.structs.replace(token, module=str(self.module), environment=environment)

    @property
    def logins(self) -> int:
        """How often C_Login was called, by any process."""
        file = self.directory / "logins"
        return file.stat().st_size if file.exists() else 0

    def hang(self) -> None:
        """Let C_Sign not return from now on."""
        (self.directory / "hang").touch()

    def answer(self, code: int) -> None:
        """Let C_Sign answer with this CKR from now on."""
        (self.directory / "answer").write_text(f"{code:x}")

    def behave(self) -> None:
        """Let C_Sign sign again, in processes that do not hang already."""
        for name in ("hang", "answer"):
            (self.directory / name).unlink(missing_ok=True)


@pytest.fixture(scope="session")
def spy_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module, compiled once."""
    module = tmp_path_factory.mktemp("spy") / "spy.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-w", "-o", str(module), str(_SOURCE), "-ldl"],
        check=True,
        timeout=60,
    )
    return module


@pytest.fixture
def spy(spy_module: Path, tmp_path: Path) -> Spy:
    """A spy of this test's own."""
    directory = tmp_path / "spied"
    directory.mkdir()
    return Spy(spy_module, directory)
