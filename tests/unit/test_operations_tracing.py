"""Waiting for the trace: with an end of its own, and without hiding that whoever waits was cancelled."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from appliance.errors import SpoolUnavailable
from appliance.operations import tracing
from appliance.operations.tracing import wait_durable

Made = Callable[[], "asyncio.Future[int]"]


def _future() -> "asyncio.Future[int]":
    return asyncio.get_running_loop().create_future()


def _task() -> "asyncio.Future[int]":
    """Entries that go to several logs are a task of their own."""

    async def wait() -> int:
        return await _future()

    return asyncio.ensure_future(wait())


def _run(wait: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await wait()

    asyncio.run(main())


@pytest.mark.parametrize("make", [_future, _task])
def test_trace_that_never_becomes_durable_is_given_up(
    make: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that does not answer is a refusal by name, and what was awaited is let go of."""
    monkeypatch.setattr(tracing, "_DURABLE_WITHIN", 0.01)

    async def wait() -> None:
        written = make()
        with pytest.raises(SpoolUnavailable, match="see to its disk"):
            await wait_durable(written)
        assert written.cancelled()

    _run(wait)


@pytest.mark.parametrize("make", [_future, _task])
def test_whoever_waits_may_be_cancelled(make: Made) -> None:
    """A cancelled request stays a cancelled one: nobody takes it for a disk that fails."""

    async def wait() -> None:
        waiting = asyncio.ensure_future(wait_durable(make()))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    _run(wait)


def test_durable_entry_is_returned() -> None:
    """What has become durable is returned, a refusal of the trace raised as it is."""

    async def wait() -> None:
        written, refused = _future(), _future()
        asyncio.get_running_loop().call_soon(written.set_result, 7)
        assert await wait_durable(written) == 7
        refused.set_exception(ValueError("full"))
        with pytest.raises(ValueError, match="full"):
            await wait_durable(refused)

    _run(wait)
