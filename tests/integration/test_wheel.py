"""The wheel: it builds, holds everything the product needs, and works where the source tree is not."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `make wheel` builds it."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        ["maturin", "build", "--release", "--locked", "--quiet", "--out", str(out)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=110,
    )
    [built] = out.glob("*.whl")
    return built


def test_wheel_holds_code_extension_and_templates(wheel: Path) -> None:
    """Every module, the compiled extension, its types and the templates of a home are in it; tests are not."""
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        file.relative_to(ROOT).as_posix()
        for package in ("appliance", "hsm", "bench")
        for suffix in ("py", "pyi", "toml")
        for file in (ROOT / package).rglob(f"*.{suffix}")
    }
    assert modules <= names
    assert "appliance/native/_native.abi3.so" in names
    assert not [name for name in names if name.startswith("tests/")]


def test_installed_wheel_makes_a_home(wheel: Path, tmp_path: Path) -> None:
    """Installed elsewhere, the command makes a demo home and issues a vector that it accepts."""
    site = tmp_path / "site"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
            *("--target", str(site), str(wheel)),
        ],
        check=True,
        timeout=60,
    )

    def appliance(*arguments: str, octets: bytes = b"") -> bytes:
        # -P: the directory we are in is no place to import from.
        command = (
            "import sys, hsm; from appliance.cli import main;"
            f"assert {str(site)!r} in main.__file__ and {str(site)!r} in hsm.__file__;"
            "sys.exit(main.main())"
        )
        done = subprocess.run(
            [sys.executable, "-P", "-c", command, *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"},
            input=octets,
            capture_output=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    assert appliance("--version").startswith(b"appliance ")
    appliance("init", "home", "--demo")
    vector = appliance(
        *("issue", "--home", "home", "--convention", "demo-client", "--pagm", "PAGM_GESTION")
    )
    assert appliance("verify", "--home", "home", "-", octets=vector).startswith(b"accepted")
