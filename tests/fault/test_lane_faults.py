"""Lanes on a real token that fail: a wrong PIN, a dead or hanging lane, a key that is not its certificate's.

Logins are counted where they happen: in the shim, between the lanes and SoftHSM.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from asyncio.subprocess import PIPE
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from hsm import process
from hsm.counters import LaneCounts, make_memory, map_memory
from hsm.errors import Finding, HsmError, Target
from hsm.guard import PinGuard
from hsm.pin import PinVariable
from hsm.process import FROZEN, LaneProcess, SpawnedLane, start_lane
from hsm.report import LaneFailed
from hsm.settings import LaneSettings
from hsm.wire import Hello
from tests.homes import CommandLine, copy_home, edit
from tests.lane_peer import Peer, make_job
from tests.service import serve, wait_until
from tests.shim import MODULE, Shim
from tests.softhsm import PIN, SoftHsm, write_pin

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

REFUSED = {"CKR_PIN_INCORRECT", "PIN_REFUSED_BEFORE"}


@pytest.fixture
def shim(softhsm: SoftHsm, tmp_path: Path) -> Shim:
    """A shim before SoftHSM that does nothing yet."""
    return Shim.before(softhsm.token.module, tmp_path / "shim")


def logins(shim: Shim) -> int:
    """How often C_Login was called, by any process."""
    return shim.count("C_Login", "entered")


def with_pin(settings: LaneSettings, pin: object) -> LaneSettings:
    """Describe the same lane with another PIN source."""
    return msgspec.structs.replace(settings, token=msgspec.structs.replace(settings.token, pin=pin))


async def try_lane(settings: LaneSettings) -> str:
    """Start a lane and end it; the code of why it did not start, or `ready`."""
    try:
        lane = await start_lane(settings)
    except HsmError as error:
        return error.finding.code
    ended = await lane.stop()
    assert ended is not None
    return "ready"


def try_lanes(*settings: LaneSettings) -> list[str]:
    """Start lanes at the same moment."""

    async def run() -> list[str]:
        return await asyncio.gather(*map(try_lane, settings))

    return asyncio.run(run())


@pytest.fixture
def wrong(softhsm: SoftHsm, shim: Shim, short_path: Path) -> list[LaneSettings]:
    """Two lanes of one token with the wrong PIN."""
    shimmed = softhsm.behind(shim)
    token = shimmed.settings(short_path, write_pin(short_path / "pin", "000000"))
    return [shimmed.lane_settings(short_path, index, token=token) for index in range(2)]


def test_wrong_pin_is_tried_once_by_all_lanes(wrong: list[LaneSettings], shim: Shim) -> None:
    """Of two lanes started together one asks the token; neither that other nor any later one ever does."""
    codes = try_lanes(*wrong)
    assert set(codes) == REFUSED
    assert logins(shim) == 1
    assert set(try_lanes(*wrong)) == {"PIN_REFUSED_BEFORE"}
    assert logins(shim) == 1


def test_a_changed_pin_source_is_tried(
    wrong: list[LaneSettings], shim: Shim, short_path: Path
) -> None:
    """A PIN file written anew needs nobody's order: it is tried, and when right the refusal is forgotten."""
    assert try_lanes(wrong[0]) == ["CKR_PIN_INCORRECT"]
    write_pin(short_path / "pin", PIN)
    assert try_lanes(*wrong) == ["ready", "ready"]
    assert logins(shim) == 3
    with PinGuard.locked(short_path) as guard:
        assert guard.refusals() == []


def test_a_variable_needs_an_order(
    wrong: list[LaneSettings], shim: Shim, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable shows no change: even the right PIN there waits for `resume`, which allows exactly one more try."""
    lane = with_pin(wrong[0], PinVariable("LANE_PIN"))
    monkeypatch.setenv("LANE_PIN", "000000")
    assert try_lanes(lane) == ["CKR_PIN_INCORRECT"]
    monkeypatch.setenv("LANE_PIN", PIN)
    assert try_lanes(lane) == ["PIN_REFUSED_BEFORE"]
    assert logins(shim) == 1
    with PinGuard.locked(short_path) as guard:
        assert guard.resume("main")
        assert not guard.resume("main")
    assert try_lanes(lane) == ["ready"]
    assert logins(shim) == 2


def test_a_lane_killed_while_asking_is_no_wrong_pin(
    softhsm: SoftHsm, shim: Shim, short_path: Path
) -> None:
    """A record left by a login whose answer nobody learned binds only if the token itself says a PIN was wrong."""
    lane = softhsm.behind(shim).lane_settings(short_path)
    assert try_lanes(lane) == ["ready"]
    wrong_file = write_pin(short_path / "pin", "000000")
    token = softhsm.behind(shim).settings(short_path, wrong_file)
    assert try_lanes(msgspec.structs.replace(lane, token=token)) == ["CKR_PIN_INCORRECT"]
    with PinGuard.locked(short_path) as guard:
        [refusal] = guard.refusals()
        assert (refusal.settled, refusal.code) == (True, "CKR_PIN_INCORRECT")
        left = msgspec.structs.replace(refusal, settled=False, code="")
        [record] = short_path.glob("pin-refused-*.json")
        record.write_bytes(msgspec.json.encode(left))
    assert try_lanes(msgspec.structs.replace(lane, token=token)) == ["PIN_REFUSED_BEFORE"]
    assert logins(shim) == 2
    assert try_lanes(lane) == ["ready"], "another source is not bound by the record"


@pytest.fixture
def shimmed_home(demo_home: Path, shim: Shim, tmp_path: Path) -> Path:
    """A demo home whose token is reached through the shim."""
    home = copy_home(demo_home, tmp_path)
    config = home / "appliance.toml"
    text = config.read_text()
    [module] = [line for line in text.splitlines() if line.startswith("module = ")]
    environment = "[token.environment]\n"
    for name, value in shim.environment.items():
        environment += f'{name} = "{value}"\n'
    text = text.replace(module, f'module = "{MODULE}"')
    config.write_text(text.replace("[token.environment]\n", environment))
    return home


ISSUE = ("issue", "--convention", "demo-client", "--pagm", "PAGM_GESTION", "--home")


def test_wrong_pin_binds_service_and_command_line(
    shimmed_home: Path, shim: Shim, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The service tries a wrong PIN once; neither the service started again nor the command line tries it."""
    write_pin(shimmed_home / "secrets" / "pin", "000000")
    for expected in ("CKR_PIN_INCORRECT", "PIN_REFUSED_BEFORE"):
        with pytest.raises(AssertionError, match=expected), serve(shimmed_home):
            pass
    ended = CommandLine(capsysbinary)(*ISSUE, shimmed_home)
    assert (ended.code, "PIN_REFUSED_BEFORE" in ended.stderr) == (3, True)
    assert logins(shim) == 1


def test_wrong_pin_is_tried_once_by_all_commands(
    shimmed_home: Path, shim: Shim, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """One command tries a wrong PIN and no other; `hsm resume` allows one more try, a corrected file as many as are needed."""
    appliance = CommandLine(capsysbinary)
    pin_file = shimmed_home / "secrets" / "pin"
    pin = pin_file.read_text().strip()
    write_pin(pin_file, "000000")
    assert "CKR_PIN_INCORRECT" in appliance(*ISSUE, shimmed_home).stderr
    for command in (ISSUE, ("doctor", "--home"), ("hsm", "list", "--home")):
        ended = appliance(*command, shimmed_home)
        assert ended.code != 0, command
        assert "PIN_REFUSED_BEFORE" in ended.stderr + ended.stdout.decode(), command
    tested = appliance("hsm", "selftest", "--count", "1", "--home", shimmed_home)
    assert "PIN_REFUSED_BEFORE" in tested.stderr
    assert logins(shim) == 1
    resumed = appliance("hsm", "resume", "--token", "demo", "--home", shimmed_home)
    assert (resumed.code, b"may be tried again" in resumed.stdout) == (0, True)
    for expected in ("CKR_PIN_INCORRECT", "PIN_REFUSED_BEFORE"):
        assert expected in appliance(*ISSUE, shimmed_home).stderr
    assert logins(shim) == 2
    write_pin(pin_file, pin)
    assert appliance(*ISSUE, shimmed_home).code == 0


def test_wrong_pin_after_the_start_is_tried_once(shimmed_home: Path, shim: Shim) -> None:
    """A lane that must be replaced when the PIN has become wrong asks once and costs no request; the right PIN brings it back."""
    pin_file = shimmed_home / "secrets" / "pin"
    pin = pin_file.read_text().strip()
    with serve(shimmed_home) as running:
        assert logins(shim) == 2
        write_pin(pin_file, "000000")
        first, _ = running.children("hsm.lane")
        os.kill(first, signal.SIGKILL)
        wait_until(
            lambda: running.errors.read_text().count("PIN_REFUSED_BEFORE") >= 2,
            30,
            "two more tries",
        )
        assert logins(shim) == 3
        assert [running.issue().status for _ in range(20)] == [200] * 20
        write_pin(pin_file, pin)
        wait_until(lambda: len(running.children("hsm.lane")) == 2, 30, "the lane to come back")
        assert pin not in running.errors.read_text()


def test_lanes_killed_in_turn_cost_no_accepted_request(demo_home: Path, tmp_path: Path) -> None:
    """Under load each lane is killed, the next when the first is back: every request is answered with a vector."""
    check_lanes_are_replaced_under_load(copy_home(demo_home, tmp_path), signal.SIGKILL, spare=1)


def test_frozen_lanes_cost_no_accepted_request(demo_home: Path, tmp_path: Path) -> None:
    """Under load two lanes of three are stopped, as by a driver that hangs: their jobs are signed elsewhere, and they are replaced."""
    check_lanes_are_replaced_under_load(copy_home(demo_home, tmp_path), signal.SIGSTOP, spare=2)


def check_lanes_are_replaced_under_load(home: Path, fault: signal.Signals, spare: int) -> None:
    """Send the signal to two lanes while six clients ask for vectors: to as many at once as can be spared, the next when those are back."""
    lanes = spare + 1
    edit(home / "appliance.toml", "# lanes = 2", f"lanes = {lanes}")
    edit(home / "appliance.toml", '# age = "2s"', 'age = "60s"')  # however slow the machine is
    with serve(home) as running, ThreadPoolExecutor(6) as pool:
        stop = threading.Event()

        def issue_until_stopped() -> list[int]:
            statuses = []
            while not stop.is_set():
                statuses.append(running.issue().status)
            return statuses

        def said(event: str) -> int:
            return running.errors.read_text().count(f'"event":"{event}"')

        clients = [pool.submit(issue_until_stopped) for _ in range(6)]
        victims = running.children("hsm.lane")[:2]
        try:
            for back in range(0, len(victims), spare):
                wait_until(
                    lambda back=back: (
                        said("child-restarted") == back and said("lane-up") >= lanes + back
                    ),
                    60,
                    "every lane to be up",
                )
                for victim in victims[back : back + spare]:
                    os.kill(victim, fault)
            wait_until(lambda: said("child-restarted") == 2, 60, "the second replacement to be up")
            wait_until(
                lambda: len(running.children("hsm.lane")) == lanes, 60, "the old lanes to end"
            )
        finally:
            stop.set()
        assert not set(victims) & set(running.children("hsm.lane"))
        statuses = [status for client in clients for status in client.result(120)]
    assert len(statuses) > 6
    assert set(statuses) == {200}


def test_an_idle_lane_that_is_frozen_is_ended(
    softhsm: SoftHsm, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane that nobody asks for anything is found out all the same, killed and told apart from one that was killed."""
    monkeypatch.setattr(process, "_PULSE_PAUSE", 0.1)
    monkeypatch.setattr(process, "_PULSE_GRACE", 0.1)

    async def run() -> None:
        lane = await start_lane(softhsm.lane_settings(short_path, call_timeout=0.3))
        os.kill(lane.pid, signal.SIGSTOP)
        async with asyncio.timeout(60):
            assert await lane.wait() == FROZEN
        assert await lane.stop() is None
        assert lanes_of(os.getpid()) == []

    asyncio.run(run())


def test_a_killed_lane_leaves_its_counts(softhsm: SoftHsm, short_path: Path) -> None:
    """What was answered is counted, to the signature, however soon after its answer the lane is killed; proofs are counted apart."""

    def sign_and_kill(lane: LaneProcess, socket: Path) -> None:
        peer = Peer(socket)
        assert isinstance(peer.receive(), Hello)
        for count in (7, 5):
            assert all(isinstance(each, bytes) for each in peer.sign(*[make_job()] * count))
        lane.kill()
        peer.channel.close()

    async def run() -> None:
        settings = softhsm.lane_settings(short_path)
        lane = await start_lane(settings)
        await asyncio.to_thread(sign_and_kill, lane, Path(settings.socket))
        assert await lane.wait() == -signal.SIGKILL
        proofs = {key.name: 1 for key in settings.keys}
        assert lane.counted == LaneCounts(proofs | {"rsa-2048": 13}, proofs)

    asyncio.run(run())


def test_a_lane_that_hangs_while_opening_is_named(
    softhsm: SoftHsm, shim: Shim, short_path: Path
) -> None:
    """A module that does not return from the probe is given up at the deadline; nobody listens on the socket."""
    shim.hang("C_Sign")
    lane = softhsm.behind(shim).lane_settings(short_path, call_timeout=0.3)
    assert try_lanes(lane) == ["CALL_TIMEOUT"]
    assert not Path(lane.socket).exists()


def test_a_lane_killed_while_opening_is_named(softhsm: SoftHsm, short_path: Path) -> None:
    """A lane that dies before it says anything is LANE_DIED, with its status and what to do."""
    settings = softhsm.lane_settings(short_path)

    async def run() -> None:
        with PinGuard.locked(short_path, module=settings.token.module_id):
            starting = asyncio.create_task(start_lane(settings))
            while not (pids := lanes_of(os.getpid())):  # noqa: ASYNC110 - a process of its own
                await asyncio.sleep(0.01)
            os.kill(pids[0], signal.SIGKILL)
            with pytest.raises(HsmError, match="status -9") as raised:
                await starting
        assert raised.value.finding.code == "LANE_DIED"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (LaneFailed(Target("m", "t"), Finding("TOKEN_NOT_FOUND", "device", "c", "n")), "TOKEN_NOT_FOUND"),
        (None, "LANE_DIED"),
    ],
)  # fmt: skip
def test_a_lane_that_does_not_end_is_ended(
    softhsm: SoftHsm,
    short_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: LaneFailed | None,
    code: str,
) -> None:
    """One that has said why it cannot sign, or what is no report, and goes on living is killed; what it said is the reason."""
    monkeypatch.setattr(process, "_END_GRACE", 0.1)
    line = "a driver's greeting" if said is None else msgspec.json.encode(said).decode()

    async def run() -> None:
        program = ["sh", "-c", 'read settings; echo "$0"; exec sleep 1000', line]
        child = await asyncio.create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE)
        descriptor = make_memory()
        with os.fdopen(descriptor):
            spawned = SpawnedLane(child, map_memory(descriptor), descriptor)
            with pytest.raises(HsmError) as raised:
                await start_lane(softhsm.lane_settings(short_path), spawned)
        assert raised.value.finding.code == code
        assert child.returncode == -signal.SIGKILL

    asyncio.run(run())


def test_a_lane_that_waits_too_long_is_named(softhsm: SoftHsm, short_path: Path) -> None:
    """When another process keeps opening tokens, the lane gives up by name and says what to look for."""
    settings = softhsm.lane_settings(short_path, open_timeout=0.4)
    with PinGuard.locked(short_path, module=settings.token.module_id):
        assert try_lanes(settings)[0] in {"OPEN_BUSY", "CALL_TIMEOUT"}


def test_starting_a_lane_can_be_cancelled(softhsm: SoftHsm, short_path: Path) -> None:
    """A start that is cancelled leaves no process behind."""
    settings = softhsm.lane_settings(short_path)

    async def run() -> None:
        with PinGuard.locked(short_path, module=settings.token.module_id):
            starting = asyncio.create_task(start_lane(settings))
            while not lanes_of(os.getpid()):  # noqa: ASYNC110 - a process of its own
                await asyncio.sleep(0.01)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
        assert lanes_of(os.getpid()) == []

    asyncio.run(run())


def lanes_of(parent: int) -> list[int]:
    """Process ids of the parent's lanes."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == parent and b"hsm.lane" in command:
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("module", "/nonexistent/module.so", "MODULE_NOT_LOADED"),
        ("module", "/etc/hostname", "MODULE_NOT_LOADED"),
        ("label", "absent", "TOKEN_NOT_FOUND"),
    ],
)
def test_an_unusable_token_is_named(
    softhsm: SoftHsm, short_path: Path, field: str, value: str, code: str
) -> None:
    """A module or token that is not there is named with what to do; no PIN is tried, nobody listens."""
    settings = softhsm.lane_settings(short_path)
    token = msgspec.structs.replace(settings.token, **{field: value})
    assert try_lanes(msgspec.structs.replace(settings, token=token)) == [code]
    assert not Path(settings.socket).exists()
    assert list(short_path.glob("pin-refused-*")) == []


def test_a_key_that_is_not_its_certificates_signs_nothing(
    softhsm: SoftHsm, short_path: Path
) -> None:
    """A lane whose key does not match the configured public key never listens, whatever its other keys."""
    mixed = {"rsa-2048": "rsa-4096", "rsa-4096": "rsa-4096", "p-256": "p-256"}
    for keys in (mixed, {"p-256": "rsa-2048"}, {"rsa-2048": "p-256"}):
        described = tuple(
            msgspec.structs.replace(
                softhsm.keys[name], public_key=softhsm.keys[certified].public_key
            )
            for name, certified in keys.items()
        )
        settings = softhsm.lane_settings(short_path, keys=described)
        assert try_lanes(settings) == ["KEY_MISMATCH"]
        assert not Path(settings.socket).exists()


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [("id", "7f", "KEY_NOT_FOUND"), ("label", "other", "KEY_LABEL_MISMATCH")],
)
def test_a_key_that_is_not_there_is_named(
    softhsm: SoftHsm, short_path: Path, field: str, value: str, code: str
) -> None:
    """A wrong CKA_ID or label keeps the lane from starting, by name."""
    key = msgspec.structs.replace(softhsm.keys["p-256"], **{field: value})
    assert try_lanes(softhsm.lane_settings(short_path, keys=(key,))) == [code]


def test_without_a_certificate_the_token_is_taken_at_its_word(
    softhsm: SoftHsm, short_path: Path
) -> None:
    """A key without configured public key proves itself with the one its token states, RSA and EC."""
    keys = tuple(
        msgspec.structs.replace(softhsm.keys[name], public_key=None)
        for name in ("rsa-2048", "p-256")
    )

    async def run() -> LaneProcess:
        lane = await start_lane(softhsm.lane_settings(short_path, keys=keys))
        assert {fact.name: fact.public_key for fact in lane.ready.keys} == {
            key.name: softhsm.keys[key.name].public_key for key in keys
        }
        lane.kill()
        assert await lane.wait() == -signal.SIGKILL
        assert await lane.stop() is None
        return lane

    assert asyncio.run(run()).pid > 0


def test_a_lane_never_forks() -> None:
    """Whatever would fork a lane's process ends it instead: a child would share the module's session."""
    code = "import os; from hsm.lane import forbid_fork; forbid_fork(); os.fork()"
    done = subprocess.run([sys.executable, "-c", code], timeout=30, check=False)
    assert done.returncode == -signal.SIGABRT
