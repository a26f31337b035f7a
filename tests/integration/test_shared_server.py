"""Several appliances on one Valkey or Redis server: vectors shared and sealed, each accepted once, and life without the server."""

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.cache.appliances import SealedVectors, SharedReplayGate
from appliance.cache.replay_guard import Received
from appliance.cache.valkey import Valkey, ValkeySettings, ValkeyUnavailable
from appliance.cache.vector_cache import CacheLimits, VectorCache
from appliance.cli.checks.shared import check_shared
from appliance.clock import FixedClock, SystemClock
from appliance.config import load_config, read_secret
from appliance.errors import ConfigurationError, ReplayGuardUnavailable
from appliance.vectors.model import IssuedVector
from tests.homes import copy_home, edit
from tests.integration.test_reuse import HOLDERS, REQUEST, REUSING
from tests.issuing import make_room
from tests.partners import CONTEXT
from tests.service import serve
from tests.softhsm import short_path  # noqa: F401 - a fixture
from tests.valkey_server import PASSWORD, run_valkey

SEAL_KEY = bytes(range(32))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A server that the tests share, each with names of its own."""
    with run_valkey(tmp_path_factory.mktemp("v")) as socket:
        yield socket


def settings(socket: Path, **fields: object) -> ValkeySettings:
    """How to reach it; generous, because the machine may be busy."""
    values = {"address": f"unix://{socket}", "password": PASSWORD, "within": 10.0} | fields
    return ValkeySettings(**values)  # type: ignore[arg-type]  # overrides of a builder


def write_shared(home: Path, socket: Path) -> None:
    """Have a home use the server."""
    secrets = home / "secrets"
    for name, text in (("seal", SEAL_KEY.hex()), ("valkey", PASSWORD)):
        (secrets / name).touch(mode=0o600)
        (secrets / name).write_text(text)
    with (home / "appliance.toml").open("a") as file:
        file.write(
            f'\n[shared]\naddress = "unix://{socket}"\nseal_key_file = "secrets/seal"\n'
            'password_file = "secrets/valkey"\nwithin = "10s"\n'
        )


def received(name: str) -> Received:
    """A vector that is valid for an hour of the server's clock."""
    return Received("urn:issuer", name, datetime.now(UTC) + timedelta(hours=1))


def test_one_vector_to_several_appliances_at_once(server: Path) -> None:
    """Of eight connections that record the same vectors together, one finds each of them fresh."""
    names = [os.urandom(8).hex() for _ in range(50)]

    async def run() -> list[list[bool]]:
        clients = [Valkey(settings(server)) for _ in range(8)]
        gates = [SharedReplayGate(client) for client in clients]
        now = datetime.now(UTC)

        async def present(gate: SharedReplayGate) -> list[bool]:
            return await asyncio.gather(*(gate.record(received(name), now) for name in names))

        found = await asyncio.gather(*map(present, gates))
        for client in clients:
            await client.aclose()
        return found

    found = asyncio.run(run())
    assert [sum(each) for each in zip(*found, strict=True)] == [1] * len(names)


@pytest.mark.parametrize("ahead", [timedelta(days=-3), timedelta(0), timedelta(days=3)])
def test_clock_of_the_server_does_not_matter(server: Path, ahead: timedelta) -> None:
    """By a server whose clock is days wrong a vector is accepted once, and forgotten when no convention of the slowest appliance could take it any more."""

    async def run() -> tuple[list[bool], int]:
        client = Valkey(settings(server))
        gate, now = SharedReplayGate(client), datetime.now(UTC) - ahead
        vector = Received("urn:issuer", os.urandom(8).hex(), now + timedelta(hours=1))
        found = [await gate.record(vector, now) for _ in range(2)]
        lasts = await client._ask(b"PTTL", b"replay:" + vector.digest)
        await client.aclose()
        assert isinstance(lasts, int)
        return found, lasts

    found, lasts = asyncio.run(run())
    assert found == [True, False]
    hour, minute = 3_600_000, 60_000
    assert 25 * hour + 4 * minute < lasts <= 25 * hour + 5 * minute


def test_what_is_taken_back_is_free_again(server: Path) -> None:
    """A vector on which no decision was given may come again, to any appliance."""

    async def run() -> list[bool]:
        clients = [Valkey(settings(server)) for _ in range(2)]
        first, second = map(SharedReplayGate, clients)
        vector, now = received(os.urandom(8).hex()), datetime.now(UTC)
        found = [await first.record(vector, now), await second.record(vector, now)]
        await first.forget(vector)
        found += [await second.record(vector, now), await first.record(vector, now)]
        for client in clients:
            await client.aclose()
        return found

    assert asyncio.run(run()) == [True, False, True, False]


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_server_that_may_forget_is_refused(tmp_path: Path, policy: str) -> None:
    """A server that evicts keys takes no vectors that may come once; set right, it does. Vectors kept for reuse may be evicted."""

    async def run() -> None:
        client = Valkey(settings(socket))
        gate, vectors = SharedReplayGate(client), SealedVectors(client, SEAL_KEY, SystemClock())
        with pytest.raises(ReplayGuardUnavailable, match=f"`{policy}`; set it to noeviction"):
            await gate.record(received("x"), datetime.now(UTC))
        await vectors.keep(b"k" * 32, b"octets", datetime.now(UTC) + timedelta(hours=1))
        assert await vectors.find(b"k" * 32) == b"octets"
        assert await client._ask(b"CONFIG", b"SET", b"maxmemory-policy", b"noeviction") == b"OK"
        await client.aclose()
        client = Valkey(settings(socket))
        assert await SharedReplayGate(client).record(received("x"), datetime.now(UTC))
        await client.aclose()

    with run_valkey(tmp_path, "--maxmemory-policy", policy) as socket:
        asyncio.run(run())


def test_server_that_does_not_say_is_refused(tmp_path: Path) -> None:
    """Where the user of [shared] may not ask, nobody knows whether the server forgets."""

    async def run() -> None:
        client = Valkey(settings(socket))
        commands = (b"+@all", b"-info")
        assert await client._ask(b"ACL", b"SETUSER", b"default", *commands) == b"OK"
        await client.aclose()
        client = Valkey(settings(socket))
        with pytest.raises(ReplayGuardUnavailable, match="allow INFO"):
            await SharedReplayGate(client).record(received("x"), datetime.now(UTC))
        await client.aclose()

    with run_valkey(tmp_path) as socket:
        asyncio.run(run())


def test_doctor_looks_at_the_server(demo_home: Path, tmp_path: Path) -> None:
    """Absent, evicting, forgetful after a restart, or as it should be: each is a finding with what to do."""
    home = copy_home(demo_home, tmp_path)
    write_shared(home, tmp_path / "valkey.sock")
    config = load_config(home)

    def found(*options: str) -> list[tuple[str, str]]:
        with run_valkey(tmp_path, *options):
            return [(each.level.value, each.found) for each in check_shared(config)]

    [absent] = check_shared(config)
    assert absent.level == "error"
    assert absent.found.startswith("does not answer")
    evicting, forgetful = found("--maxmemory-policy", "allkeys-lru")
    assert (evicting[0], "`allkeys-lru`" in evicting[1]) == ("error", True)
    assert (forgetful[0], "append-only" in forgetful[1]) == ("warning", True)
    assert [level for level, _ in found("--appendonly", "yes")] == ["ok"]
    (home / "secrets" / "valkey").unlink()
    [unread] = check_shared(config)
    assert (unread.level, "secrets/valkey" in unread.where) == ("error", True)


def test_without_the_server_nobody_is_let_through(tmp_path: Path) -> None:
    """A server that is away, or slow, or wants another password: the guard refuses, the vectors are merely not shared."""

    async def run(wrong: ValkeySettings) -> None:
        client = Valkey(wrong)
        with pytest.raises(ReplayGuardUnavailable, match=r"\[shared\]"):
            await SharedReplayGate(client).record(received("x"), datetime.now(UTC))
        vectors = SealedVectors(client, SEAL_KEY, SystemClock())
        await vectors.keep(b"k" * 32, b"octets", datetime.now(UTC) + timedelta(hours=1))
        assert await vectors.find(b"k" * 32) is None
        await client.aclose()

    asyncio.run(run(settings(tmp_path / "absent")))
    with run_valkey(tmp_path) as socket:
        asyncio.run(run(settings(socket, password="another")))  # noqa: S106 - the wrong one
        asyncio.run(run(settings(socket, within=0.0)))


def test_entries_are_sealed_to_their_place(server: Path) -> None:
    """What lies on the server tells nothing, and is of use only under its own name, unchanged, to whoever has the key."""
    ends = datetime.now(UTC) + timedelta(hours=1)

    async def run() -> None:
        client = Valkey(settings(server))
        ours, theirs = (
            SealedVectors(client, SEAL_KEY, SystemClock()),
            SealedVectors(client, bytes(32), SystemClock()),
        )
        first, second = os.urandom(32), os.urandom(32)
        await ours.keep(first, b"agent-0042", ends)
        assert await ours.find(first) == b"agent-0042"
        stored = await client.find(b"vector:" + first)
        assert stored is not None
        assert b"agent" not in stored
        await client.set(b"vector:" + second, stored, 60_000)
        assert await ours.find(second) is None
        assert await theirs.find(first) is None
        for changed in (stored[:-1] + bytes([stored[-1] ^ 1]), stored[:5], b""):
            await client.set(b"vector:" + first, changed, 60_000)
            assert await ours.find(first) is None
        await client.aclose()

    asyncio.run(run())


def test_client_outlives_its_server(tmp_path: Path) -> None:
    """After the server has come back the next command finds it; what was under way fails by name."""

    async def run() -> None:
        client = Valkey(settings(tmp_path / "valkey.sock"))
        for _ in range(2):
            with run_valkey(tmp_path):
                await client.set(b"k", b"v", 60_000)
                assert await client.find(b"k") == b"v"
            with pytest.raises(ValkeyUnavailable):
                await client.find(b"k")
        assert repr(client) == "Valkey(unix, connected)"
        await client.aclose()

    asyncio.run(run())


def test_appliances_share_vectors(server: Path, tmp_path: Path) -> None:
    """What one appliance signed another gives out, verified again; what somebody else sealed it signs itself."""

    async def issue(directory: Path, seal_key: bytes) -> IssuedVector:
        client = Valkey(settings(server))
        vectors = VectorCache(
            CacheLimits(10, 10**7), (SealedVectors(client, seal_key, SystemClock()),)
        )
        # By the server's clock, which drops what has run out.
        clock = FixedClock(datetime.now(UTC))
        async with make_room(directory, HOLDERS, REUSING, vectors=vectors, clock=clock) as room:
            issued = await room.issue.issue(REQUEST, CONTEXT)
        await client.aclose()
        return issued

    found = []
    for at, seal_key in enumerate((SEAL_KEY, SEAL_KEY, bytes(32))):
        directory = tmp_path / str(at)
        directory.mkdir()
        found.append(asyncio.run(issue(directory, seal_key)))
    assert [each.reused for each in found] == [False, True, False]
    assert found[1].vector.assertion.octets == found[0].vector.assertion.octets
    assert found[2].vector.assertion.octets != found[0].vector.assertion.octets


@pytest.mark.hsm
@pytest.mark.slow
def test_two_appliances_accept_a_vector_once(server: Path, demo_home: Path, tmp_path: Path) -> None:
    """Two services with homes of their own and one server between them: what one accepted the other refuses."""
    home = copy_home(demo_home, tmp_path)
    write_shared(home, server)
    edit(home / "conventions" / "demo-provider.toml", '# replay = "log"', 'replay = "refuse"')
    with serve(home) as running:
        vector = running.issue().json["assertion"].encode()
        assert running.verify(vector).json["verdict"] == "accepted"
    (home / "run" / "replay.guard").unlink()  # as another appliance, which has a guard of its own
    with serve(home) as running:
        answer = running.verify(vector).json
        assert answer["fault"]["reason"] == "replayed"


@pytest.mark.parametrize(
    ("lines", "key", "expected"),
    [
        ('address = "http://x"\nseal_key_file = "s"', "shared.address", "redis://HOST:PORT"),
        ('address = "redis://x"', "shared", "seal_key_file"),
    ],
)
def test_wrong_settings(
    demo_home: Path, tmp_path: Path, lines: str, key: str, expected: str
) -> None:
    """An address that is none, and a missing key, are refused by name."""
    text = (demo_home / "appliance.toml").read_text()
    (tmp_path / "appliance.toml").write_text(f"{text}\n[shared]\n{lines}\n")
    with pytest.raises(ConfigurationError) as raised:
        load_config(tmp_path)
    assert raised.value.key == key
    assert expected in raised.value.expected


def test_secrets_are_for_their_owner(tmp_path: Path) -> None:
    """A secret that others can read, or that is not there, is refused by name."""
    file = tmp_path / "seal"
    with pytest.raises(ConfigurationError, match="readable file"):
        read_secret(file)
    file.touch(mode=0o600)
    file.write_text("abc\n")
    assert read_secret(file) == "abc"
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        read_secret(file)
