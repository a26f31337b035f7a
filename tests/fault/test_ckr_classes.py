"""Every code of the calls we use has a class, and a lane does what its class asks for (`hsm.errors.Kind`)."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pkcs11
import pytest

from hsm.ckr import _NUMBERS, KINDS, UNSURE, translate
from hsm.errors import NEVER_ASKED, PIN_CODES, HsmError, Target
from hsm.guard import UNDECIDED_LOGINS, UNDECIDED_SECONDS
from hsm.inventory import read_inventory
from hsm.lane import SESSION_LOST
from hsm.process import HUNG
from hsm.session import lock_opening
from hsm.settings import TokenSettings
from hsm.state import Undecided
from hsm.wire import Hello, Refused, SignFailure
from tests.lane_peer import Peer, make_job
from tests.shim import Shim
from tests.softhsm import RunningLane, SoftHsm, run_lane, verifies

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

# No call of a signature gives these: C_SignInit answered with them would be another code's test again.
OPENING = PIN_CODES | {"CKR_PIN_TOO_WEAK", "CKR_TOKEN_WRITE_PROTECTED"}
# The shim knows the names of PKCS#11 2.40; the rest are told to it as numbers.
SPELLED = {code: f"0x{number:x}" for number, code in _NUMBERS.items()}
CODES = {code: kind for code, kind in KINDS.items() if code.startswith("CKR_")}


def codes_of(*kinds: str) -> list[str]:
    """The codes of these classes that a lane may meet while it signs."""
    return sorted(
        code
        for code, kind in CODES.items()
        if kind in kinds and code not in OPENING and code not in UNSURE
    )


@dataclass
class Bench:
    """A lane behind the shim, and a peer that it has greeted."""

    softhsm: SoftHsm
    shim: Shim
    lane: RunningLane
    peer: Peer

    def signs(self) -> bool:
        """Ask for a signature and verify it."""
        job = make_job("p-256")
        [signature] = self.peer.sign(job)
        public_key = self.softhsm.keys["p-256"].public_key
        return verifies(public_key, "sha256", job.digest, signature)

    def counts(self) -> dict[str, int]:
        """How often the calls that tell the classes apart have succeeded."""
        calls = self.shim.status()["calls"]
        names = ("C_Initialize", "C_OpenSession", "C_Login", "C_FindObjectsInit")
        return {name: calls[name]["done"] for name in names}

    def counts_since(self, before: dict[str, int]) -> dict[str, int]:
        """What has been added."""
        return {name: count - before[name] for name, count in self.counts().items()}


@contextmanager
def set_up(softhsm: SoftHsm, directory: Path, call_timeout: float = 5.0) -> Iterator[Bench]:
    """Run a lane with one key behind a shim of its own."""
    shim = Shim.before(softhsm.token.module, directory / "shim")
    settings = softhsm.behind(shim).lane_settings(
        directory,
        keys=(softhsm.keys["p-256"],),
        call_timeout=call_timeout,
    )
    with run_lane(settings) as lane, ExitStack() as stack:
        peer = Peer(lane.socket)
        stack.callback(peer.channel.close)
        assert isinstance(peer.receive(), Hello)
        yield Bench(softhsm, shim, lane, peer)


@pytest.fixture(scope="module")
def shared(softhsm: SoftHsm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A lane that must outlive every failure of its tests."""
    with set_up(softhsm, tmp_path_factory.mktemp("c")) as bench:
        yield bench


@pytest.fixture
def bench(shared: Bench) -> Iterator[Bench]:
    """The shared lane, with no fault left over."""
    yield shared
    shared.shim.clear()


@pytest.fixture
def doomed(softhsm: SoftHsm, short_path: Path) -> Iterator[Bench]:
    """A lane of the test's own."""
    with set_up(softhsm, short_path) as bench:
        yield bench


@pytest.mark.parametrize("code", codes_of("request", "capacity"))
def test_refused_job_costs_nothing_else(bench: Bench, code: str) -> None:
    """`request` and `capacity`: the job is refused by its code, the session stays, the next job is signed."""
    before = bench.counts()
    bench.shim.fail("C_SignInit", SPELLED.get(code, code), times=1)
    [failure] = bench.peer.sign(make_job("p-256"))
    assert isinstance(failure, SignFailure)
    assert (failure.code, failure.kind) == (code, CODES[code])
    assert code in failure.detail
    assert bench.signs()
    assert not any(bench.counts_since(before).values())


@pytest.mark.parametrize("code", [*codes_of("session"), *sorted(UNSURE)])
def test_lost_session_is_opened_anew(bench: Bench, code: str) -> None:
    """`session`: the rest of the frame goes elsewhere, the session is opened anew with one login, and the lane signs on."""
    before = bench.counts()
    bench.shim.fail("C_Sign", SPELLED.get(code, code), times=1)
    failures = bench.peer.sign(make_job("p-256"), make_job("p-256"))
    assert [(failure.code, failure.kind) for failure in failures] == [(code, "session")] * 2
    assert bench.signs()
    since = bench.counts_since(before)
    assert (since["C_Initialize"], since["C_OpenSession"], since["C_Login"]) == (1, 1, 1)


@pytest.mark.parametrize("code", codes_of("object"))
def test_lost_object_is_found_again(bench: Bench, code: str) -> None:
    """`object`: the key is looked for again in the same session and proves itself; the job is signed after all."""
    before = bench.counts()
    bench.shim.fail("C_SignInit", SPELLED.get(code, code), times=1)
    assert bench.signs()
    since = bench.counts_since(before)
    assert since["C_FindObjectsInit"] > 0
    assert since["C_OpenSession"] == since["C_Login"] == 0


@pytest.mark.parametrize("code", codes_of("login"))
def test_lost_login_is_had_again_once(bench: Bench, code: str) -> None:
    """`login`: one login in a session opened anew; the job is signed after all."""
    before = bench.counts()
    bench.shim.fail("C_SignInit", SPELLED.get(code, code), times=1)
    assert bench.signs()
    assert bench.counts_since(before)["C_Login"] == 1


@pytest.mark.parametrize("code", codes_of("device", "human"))
def test_lane_ends_where_only_another_process_helps(doomed: Bench, code: str) -> None:
    """`device` and `human`: the job fails by its code, the lane says why it ends, and ends."""
    doomed.shim.fail("C_SignInit", SPELLED.get(code, code))
    failures = doomed.peer.sign(make_job("p-256"), make_job("p-256"))
    assert {(failure.code, failure.kind) for failure in failures} == {(code, CODES[code])}
    refused = doomed.peer.receive()
    assert isinstance(refused, Refused)
    assert (refused.code, refused.kind) == (code, CODES[code])
    assert doomed.lane.process.wait(10) == SESSION_LOST


@pytest.mark.parametrize("code", ["CKR_SESSION_HANDLE_INVALID", "CKR_GENERAL_ERROR"])
def test_lane_ends_when_opening_anew_does_not_help(doomed: Bench, code: str) -> None:
    """A failure that comes again in the new session, while its keys prove themselves, ends the lane with it."""
    doomed.shim.fail("C_SignInit", SPELLED.get(code, code))
    [failure] = doomed.peer.sign(make_job("p-256"))
    assert failure.kind == "session"
    refused = doomed.peer.receive()
    assert isinstance(refused, Refused)
    assert (refused.code, refused.kind) == (code, CODES[code])


@pytest.mark.parametrize("lost", ["CKR_USER_NOT_LOGGED_IN", "CKR_KEY_HANDLE_INVALID"])
@pytest.mark.parametrize("code", ["CKR_MECHANISM_INVALID", "CKR_HOST_MEMORY", "CKR_ARGUMENTS_BAD"])
def test_nothing_is_signed_after_a_recovery_that_failed(bench: Bench, lost: str, code: str) -> None:
    """Whatever class a failed recovery has, the job goes elsewhere and every key proves itself before the next one."""
    bench.shim.fail("C_FindObjectsInit", SPELLED.get(code, code), times=1)
    bench.shim.fail("C_SignInit", lost, times=1)
    [failure] = bench.peer.sign(make_job("p-256"))
    assert failure.kind == "session"
    before = bench.shim.count("C_Sign")
    assert bench.signs()
    assert bench.shim.count("C_Sign") >= before + 1


def test_dropped_sessions_cost_one_frame(bench: Bench) -> None:
    """When the token drops every session the lane has its keys prove themselves in a new one."""
    bench.shim.drop_sessions()
    [failure] = bench.peer.sign(make_job("p-256"))
    assert failure.kind == "session"
    assert bench.signs()


@pytest.mark.parametrize(
    ("call", "code", "found", "kind"),
    [
        ("C_Initialize", "CKR_CANT_LOCK", "CKR_CANT_LOCK", "device"),
        ("C_Initialize", "CKR_HOST_MEMORY", "CKR_HOST_MEMORY", "capacity"),
        ("C_GetSlotList", "CKR_CRYPTOKI_NOT_INITIALIZED", "CKR_CRYPTOKI_NOT_INITIALIZED", "device"),
        ("C_GetTokenInfo", "CKR_DEVICE_REMOVED", "CKR_DEVICE_REMOVED", "device"),
        ("C_GetTokenInfo", "CKR_TOKEN_NOT_PRESENT", "TOKEN_NOT_FOUND", "device"),
        ("C_OpenSession", "CKR_SESSION_COUNT", "CKR_SESSION_COUNT", "capacity"),
        ("C_OpenSession", "CKR_SLOT_ID_INVALID", "CKR_SLOT_ID_INVALID", "device"),
        ("C_FindObjectsInit", "CKR_SESSION_CLOSED", "CKR_SESSION_CLOSED", "session"),
        ("C_GetAttributeValue", "CKR_OBJECT_HANDLE_INVALID", "CKR_OBJECT_HANDLE_INVALID", "object"),
        ("C_SignInit", "CKR_KEY_FUNCTION_NOT_PERMITTED", "CKR_KEY_FUNCTION_NOT_PERMITTED", "request"),
        ("C_Sign", "0x80001234", "CKR_0x80001234", "device"),
    ],
)  # fmt: skip
def test_opening_fails_by_name(
    softhsm: SoftHsm, tmp_path: Path, call: str, code: str, found: str, kind: str
) -> None:
    """Whatever call of the opening fails, the finding names code and class, and says what to do."""
    shim = Shim.before(softhsm.token.module, tmp_path / "shim")
    shim.fail(call, code)
    error = open_and_fail(softhsm, softhsm.behind(shim).settings(tmp_path))
    assert (error.code, error.kind) == (found, kind)
    assert error.cause
    assert error.next_step


@pytest.mark.parametrize("code", sorted(PIN_CODES))
def test_refused_pin_is_tried_once(softhsm: SoftHsm, tmp_path: Path, code: str) -> None:
    """Each code by which a token refuses a PIN waits for a person: whoever opens it next does not ask the token."""
    shim = Shim.before(softhsm.token.module, tmp_path / "shim")
    shim.fail("C_Login", code)
    settings = softhsm.behind(shim).settings(tmp_path)
    error = open_and_fail(softhsm, settings)
    assert (error.code, error.kind) == (code, "human")
    assert f"`appliance hsm resume --token {settings.name}`" in error.next_step
    with pytest.raises(HsmError, match=code) as raised:
        log_in_unasked(settings)
    assert raised.value.finding.code == "PIN_REFUSED_BEFORE"
    assert raised.value.finding.kind == "human"


def log_in_unasked(settings: TokenSettings, *, is_count_low: bool = False) -> None:
    """Begin a login that must end before the token is asked."""
    with lock_opening(settings) as guard:
        [record] = guard.refusals()
        guard.log_in(
            settings.target,
            record.serial,
            settings.pin,
            is_count_low=is_count_low,
            open_with=pytest.fail,
        )


@pytest.mark.parametrize("code", [*sorted(UNSURE), "CKR_ARGUMENTS_BAD"])
def test_login_without_a_verdict_leaves_the_pin_in_doubt(
    softhsm: SoftHsm, tmp_path: Path, code: str
) -> None:
    """A code that may stand for a wrong PIN is kept as an attempt that may have been counted (`test_pin_guard` has what follows)."""
    shim = Shim.before(softhsm.token.module, tmp_path / "shim")
    settings = softhsm.behind(shim).settings(tmp_path)
    shim.fail("C_Login", code)
    assert open_and_fail(softhsm, settings).code == code
    with lock_opening(settings) as guard:
        [record] = guard.refusals()
    assert [attempt.code for attempt in record.undecided] == [code]


def test_login_without_a_verdict_is_repeated_once(softhsm: SoftHsm, tmp_path: Path) -> None:
    """A vendor's code is met twice, then the token is left alone until `resume`; a good login starts afresh."""
    shim = Shim.before(softhsm.token.module, tmp_path / "shim")
    settings = softhsm.behind(shim).settings(tmp_path)
    rule = shim.fail("C_Login", "0x80000005")
    for _ in range(UNDECIDED_LOGINS):
        assert open_and_fail(softhsm, settings).code != "LOGIN_UNDECIDED"
    error = open_and_fail(softhsm, settings)
    assert (error.code, error.kind) == ("LOGIN_UNDECIDED", "device")
    assert shim.count("C_Login", "entered") == UNDECIDED_LOGINS == 2
    with lock_opening(settings) as guard:
        [_] = guard.resume(settings.name)
    open_and_fail(softhsm, settings)
    shim.clear(rule)
    assert opens(softhsm, settings)
    with lock_opening(settings) as guard:
        assert guard.refusals() == []


def test_login_without_a_verdict_counts_for_a_quarter_of_an_hour(
    softhsm: SoftHsm, tmp_path: Path
) -> None:
    """An attempt longer ago is forgotten; one that the token confirms by its count of wrong PINs binds however old it is."""
    old = Undecided(time.time() - UNDECIDED_SECONDS - 1, "CKR_GENERAL_ERROR")
    shim = Shim.before(softhsm.token.module, tmp_path / "shim")
    settings = softhsm.behind(shim).settings(tmp_path)
    shim.fail("C_Login", "CKR_GENERAL_ERROR", times=1)
    open_and_fail(softhsm, settings)
    with lock_opening(settings) as guard:
        [record] = guard.refusals()
        guard.forget([record])
        aged = msgspec.structs.replace(record, undecided=(old,) * UNDECIDED_LOGINS)
        guard.adopt([aged])
    with pytest.raises(HsmError, match="PIN_REFUSED_BEFORE"):
        log_in_unasked(settings, is_count_low=True)
    assert opens(softhsm, settings)


@pytest.mark.parametrize(
    ("call", "code"),
    [*(("C_Login", code) for code in sorted(NEVER_ASKED)), ("C_OpenSession", "CKR_GENERAL_ERROR")],
)
def test_login_that_never_was_one_leaves_no_doubt(
    softhsm: SoftHsm, tmp_path: Path, call: str, code: str
) -> None:
    """Without session, token or room, however the token puts it, no PIN was compared: nothing is kept of the attempt."""
    shim = Shim.before(softhsm.token.module, tmp_path / "shim")
    settings = softhsm.behind(shim).settings(tmp_path)
    shim.fail(call, code)
    assert open_and_fail(softhsm, settings).code == code
    with lock_opening(settings) as guard:
        assert guard.refusals() == []


def opens(softhsm: SoftHsm, settings: TokenSettings) -> bool:
    """Whether the token opens and has the key."""
    [check] = read_inventory(settings, [softhsm.keys["p-256"]]).checks
    return check.finding is None


def open_and_fail(softhsm: SoftHsm, settings: TokenSettings) -> object:
    """Open the token as a lane would and return what it fails with."""
    try:
        inventory = read_inventory(settings, [softhsm.keys["p-256"]])
    except HsmError as error:
        return error.finding
    [check] = inventory.checks
    assert check.finding is not None
    return check.finding


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: pkcs11.PKCS11Error("Unmapped error code 0x68"), "CKR_KEY_FUNCTION_NOT_PERMITTED"),
        (lambda: pkcs11.PKCS11Error("Unmapped error code 0x80000001"), "CKR_0x80000001"),
        (lambda: pkcs11.PKCS11Error("something else"), "CKR_GENERAL_ERROR"),
    ],
)
def test_code_without_an_exception_of_its_own(
    make: Callable[[], pkcs11.PKCS11Error], code: str
) -> None:
    """A code that python-pkcs11 leaves as a number or as words is named all the same; an unknown one is the device's."""
    finding = translate(make(), Target("module", "token")).finding
    assert finding.code == code
    assert finding.kind == KINDS.get(code, "device")


def test_hung_call_ends_the_lane(softhsm: SoftHsm, short_path: Path) -> None:
    """A call that does not return ends the lane at its call deadline; its peer sees the connection end."""
    with set_up(softhsm, short_path, call_timeout=0.3) as hung:
        hung.shim.hang("C_Sign")
        hung.peer.send(make_job("p-256"))
        assert hung.peer.receive() is None
        assert hung.lane.process.wait(10) == HUNG


def test_hang_while_opening_anew_ends_the_lane(softhsm: SoftHsm, short_path: Path) -> None:
    """A lost session whose opening hangs is given up at the call deadline: a new lane is the better cure."""
    with set_up(softhsm, short_path, call_timeout=0.5) as hung:
        hung.shim.hang("C_Login")
        hung.shim.fail("C_Sign", "CKR_SESSION_CLOSED", times=1)
        [failure] = hung.peer.sign(make_job("p-256"))
        assert failure.kind == "session"
        assert hung.lane.process.wait(10) == HUNG
