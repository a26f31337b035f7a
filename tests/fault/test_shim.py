"""The fault injector keeps its word: each fault is what python-pkcs11 makes of it, in every process, and no longer than told."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature

from tests.shim import MODULE, Shim
from tests.shim_client import DIGEST, Client, run_client
from tests.softhsm import PIN, SoftHsm, verifies, wait_for

pytestmark = pytest.mark.hsm

Start = Callable[[], Client]


@pytest.fixture
def shim(softhsm: SoftHsm, tmp_path: Path) -> Shim:
    """A shim before SoftHSM that does nothing yet."""
    return Shim.before(softhsm.token.module, tmp_path / "shim")


@pytest.fixture
def start(softhsm: SoftHsm, shim: Shim) -> Iterator[Start]:
    """Starts programs that sign with the P-256 key through the shim."""
    environment = os.environ | softhsm.token.environment | shim.environment
    with ExitStack() as stack:
        yield lambda: stack.enter_context(
            run_client(MODULE, environment, (softhsm.token.label, "p-256"), PIN)
        )


@pytest.fixture
def client(start: Start, softhsm: SoftHsm) -> Client:
    """A program that has opened its session."""
    started = start()
    assert started.ask("open") == f"ok {softhsm.token.serial}"
    return started


def signs(client: Client, softhsm: SoftHsm) -> bool:
    """Ask for a signature and verify it."""
    outcome, _, signature = client.ask("sign").partition(" ")
    public_key = softhsm.keys["p-256"].public_key
    return outcome == "ok" and verifies(public_key, "sha256", DIGEST, bytes.fromhex(signature))


def test_without_rules_it_is_not_noticed(client: Client, shim: Shim, softhsm: SoftHsm) -> None:
    """Calls reach the real module and its answers come back; python-pkcs11's three calls a signature are counted."""
    before = shim.status()["calls"]
    assert signs(client, softhsm)
    after = shim.status()["calls"]
    assert after["C_SignInit"]["entered"] - before["C_SignInit"]["entered"] == 1
    assert after["C_Sign"]["entered"] - before["C_Sign"]["entered"] == 2
    assert after["C_Sign"]["done"] - before["C_Sign"]["done"] == 1
    assert all(call["injected"] == 0 for call in after.values())


@pytest.mark.parametrize(
    ("call", "code", "order", "exception"),
    [
        ("C_SignInit", "CKR_KEY_HANDLE_INVALID", "sign", "KeyHandleInvalid"),
        ("C_SignInit", "CKR_OPERATION_ACTIVE", "sign", "OperationActive"),
        ("C_SignInit", "CKR_MECHANISM_INVALID", "sign", "MechanismInvalid"),
        ("C_Sign", "CKR_DEVICE_ERROR", "sign", "DeviceError"),
        ("C_Sign", "CKR_DEVICE_MEMORY", "sign", "DeviceMemory"),
        ("C_Sign", "CKR_DEVICE_REMOVED", "sign", "DeviceRemoved"),
        ("C_Sign", "CKR_FUNCTION_FAILED", "sign", "FunctionFailed"),
        ("C_Sign", "CKR_FUNCTION_REJECTED", "sign", "FunctionRejected"),
        ("C_Sign", "CKR_GENERAL_ERROR", "sign", "GeneralError"),
        ("C_Sign", "CKR_HOST_MEMORY", "sign", "HostMemory"),
        ("C_Sign", "CKR_SESSION_HANDLE_INVALID", "sign", "SessionHandleInvalid"),
        ("C_Sign", "CKR_SESSION_CLOSED", "sign", "SessionClosed"),
        ("C_Sign", "CKR_USER_NOT_LOGGED_IN", "sign", "UserNotLoggedIn"),
        ("C_Sign", "0x80001234", "sign", "PKCS11Error"),
        ("C_Login", "CKR_PIN_INCORRECT", "open", "PinIncorrect"),
        ("C_Login", "CKR_PIN_LOCKED", "open", "PinLocked"),
        ("C_OpenSession", "CKR_SESSION_COUNT", "open", "SessionCount"),
        ("C_OpenSession", "CKR_TOKEN_NOT_RECOGNIZED", "open", "TokenNotRecognised"),
        ("C_FindObjectsInit", "CKR_OBJECT_HANDLE_INVALID", "open", "ObjectHandleInvalid"),
        ("C_GetTokenInfo", "CKR_TOKEN_NOT_PRESENT", "open", "NoSuchToken"),
        ("C_GetSlotList", "CKR_CRYPTOKI_NOT_INITIALIZED", "open", "PKCS11Error"),
        ("C_Initialize", "CKR_CANT_LOCK", "load", "PKCS11Error"),
        ("C_GetFunctionList", "CKR_GENERAL_ERROR", "load", "GeneralError"),
    ],
)
def test_any_code_on_any_call(
    start: Start, shim: Shim, call: str, code: str, order: str, exception: str
) -> None:
    """A call answers the code it is told to, and the real module does not see it."""
    client = start()
    if order == "sign":
        assert client.ask("open").startswith("ok")
    before = shim.count(call)
    shim.fail(call, code)
    assert client.ask(order) == exception
    assert shim.count(call, "injected") >= 1
    assert shim.count(call) == before


def test_a_fault_happens_so_often_and_no_oftener(
    client: Client, shim: Shim, softhsm: SoftHsm
) -> None:
    """Once means once, three times means three times, and until cleared means until cleared."""
    shim.fail("C_SignInit", "CKR_FUNCTION_FAILED", times=1)
    assert [client.ask("sign"), signs(client, softhsm)] == ["FunctionFailed", True]
    shim.fail("C_SignInit", "CKR_FUNCTION_FAILED", times=3)
    assert [client.ask("sign") for _ in range(3)] == ["FunctionFailed"] * 3
    assert signs(client, softhsm)
    rule = shim.fail("C_SignInit", "CKR_FUNCTION_FAILED")
    assert {client.ask("sign") for _ in range(20)} == {"FunctionFailed"}
    shim.clear(rule)
    assert signs(client, softhsm)


def test_a_fault_happens_with_the_probability_told(client: Client, shim: Shim) -> None:
    """With one half, four hundred calls see both outcomes about as often."""
    shim.fail("C_SignInit", "CKR_FUNCTION_FAILED", chance=0.5)
    failed = sum(client.ask("sign") == "FunctionFailed" for _ in range(400))
    assert 120 < failed < 280
    assert shim.count("C_SignInit", "injected") == failed


def test_a_fault_for_n_calls_is_shared_by_all_processes(
    client: Client, start: Start, shim: Shim
) -> None:
    """Two processes see one fault between them, not one each; counters are of both."""
    other = start()
    assert other.ask("open").startswith("ok")
    shim.zero()
    shim.fail("C_SignInit", "CKR_DEVICE_ERROR", times=1)
    assert client.ask("sign") == "DeviceError"
    assert other.ask("sign").startswith("ok")
    assert client.ask("sign").startswith("ok")
    assert shim.count("C_SignInit", "entered") == 3
    assert shim.count("C_SignInit", "injected") == 1


def test_a_signature_may_be_spoilt(client: Client, shim: Shim, softhsm: SoftHsm) -> None:
    """A token that puts out a wrong signature says CKR_OK: only verifying tells."""
    shim.spoil("C_Sign", times=1)
    with pytest.raises(InvalidSignature):
        signs(client, softhsm)
    assert signs(client, softhsm)


def test_a_hang_lasts_until_cleared(client: Client, shim: Shim, softhsm: SoftHsm) -> None:
    """A call that hangs gives no answer, and goes on as if nothing had been once the rule is cleared."""
    done = shim.count("C_Sign")
    rule = shim.hang("C_Sign", times=1)
    client.tell("sign")
    wait_for(lambda: shim.count("C_Sign", "hung") == 1, "the call to hang")
    assert shim.count("C_Sign") == done
    assert shim.status()["rules"][0] == {"rule": rule, "effect": "hang", "left": 0, "hits": 1}
    shim.clear(rule)
    assert client.hear().startswith("ok")
    assert signs(client, softhsm)


def test_a_hang_may_be_bounded(client: Client, shim: Shim, softhsm: SoftHsm) -> None:
    """A hang of a certain duration ends by itself."""
    shim.hang("C_SignInit", 0.05)
    assert signs(client, softhsm)
    assert shim.count("C_SignInit", "hung") == 1


def test_dropped_sessions_are_gone_in_every_process(
    client: Client, start: Start, shim: Shim, softhsm: SoftHsm
) -> None:
    """Old handles are invalid, logins are over, a new session works; one of later is not touched."""
    other = start()
    assert other.ask("open").startswith("ok")
    shim.drop_sessions()
    later = start()
    assert later.ask("open").startswith("ok")
    assert [client.ask("sign"), other.ask("sign")] == ["SessionHandleInvalid"] * 2
    assert signs(later, softhsm)
    assert client.ask("open").startswith("ok")
    assert shim.count("C_Login") == 4
    assert signs(client, softhsm)


def test_a_token_that_disappears_takes_its_sessions_with_it(
    client: Client, start: Start, shim: Shim, softhsm: SoftHsm
) -> None:
    """While it is gone slots are empty and sessions say so; when it is back old handles stay invalid and new sessions work."""
    assert client.ask("tokens").split()[1] == "2"
    shim.remove_token()
    assert client.ask("sign") == "DeviceRemoved"
    assert client.ask("tokens") == "ok 0 2"
    assert client.ask("open") == "NoSuchToken"
    assert start().ask("open") == "NoSuchToken"
    shim.return_token()
    assert client.ask("sign") == "SessionHandleInvalid"
    assert client.ask("open").startswith("ok")
    assert signs(client, softhsm)


def test_latency_is_added_and_a_limit_holds_over_processes(
    client: Client, start: Start, shim: Shim
) -> None:
    """Of four processes signing at once, with a limit of two, two are inside and the others wait for their turn."""
    clients = [client, *(start() for _ in range(3))]
    for other in clients[1:]:
        assert other.ask("open").startswith("ok")
    shim.limit("C_Sign", 2)
    delay = shim.delay("C_Sign", 600)
    for each in clients:
        each.tell("sign")
    wait_for(lambda: shim.status()["held"] == 2, "two calls to be inside")
    wait_for(lambda: shim.status()["waits"] >= 2, "the others to wait")
    assert shim.count("C_SignInit") == len(clients)
    inside = shim.status()
    assert (inside["held"], inside["peak"]) == (2, 2)
    shim.clear(delay)
    for each in clients:
        each.process.kill()


def test_the_permits_of_a_killed_process_are_not_lost(
    client: Client, start: Start, shim: Shim, softhsm: SoftHsm
) -> None:
    """A process killed inside the token gives its permit back, as a crashed client of an HSM would."""
    shim.limit("C_Sign", 1)
    shim.delay("C_Sign", 600, times=1)
    client.tell("sign")
    wait_for(lambda: shim.status()["held"] == 1, "the call to be inside")
    client.process.kill()
    other = start()
    assert other.ask("open").startswith("ok")
    assert signs(other, softhsm)
    assert shim.status()["peak"] == 1


def test_a_program_without_a_state_is_told_why(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A missing or foreign state file is a GeneralError for the program and a sentence on standard error."""
    foreign = tmp_path / "foreign"
    foreign.write_bytes(bytes(10_000))
    for state in ({}, {"PKCS11_SHIM_STATE": str(foreign)}):
        with run_client(MODULE, os.environ | state, ("main", "p-256"), PIN) as client:
            assert client.ask("load") == "GeneralError"
    missing, no_state = capfd.readouterr().err.splitlines()
    assert "PKCS11_SHIM_STATE must name a state file" in missing
    assert f"{foreign}: no state file of this version" in no_state
