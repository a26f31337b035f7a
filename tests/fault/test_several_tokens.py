"""One key in two tokens: load goes where it is soonest done, and the loss of a token costs only its share."""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from appliance.clock import SystemClock
from appliance.errors import HsmUnavailable
from appliance.signing.job import SigningJob
from appliance.signing.queue import SigningQueue
from appliance.signing.settings import QueueSettings
from hsm.pin import PinFile
from hsm.process import start_lane
from hsm.provision.softhsm import create_softhsm_token
from hsm.settings import KeySettings, LaneSettings, TokenSettings
from tests.homes import copy_home
from tests.service import serve, wait_until
from tests.shim import MODULE, Shim
from tests.softhsm import PIN, verifies, write_pin
from tests.stored_key import store_key

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

SHARED, ALONE = "shared", "alone"


@dataclass(frozen=True)
class Pair:
    """Two tokens, each behind a shim of its own; `shared` lies in both, `alone` in the second."""

    shims: dict[str, Shim]
    tokens: dict[str, TokenSettings]
    keys: dict[str, KeySettings]

    def lane(self, token: str, directory: Path) -> LaneSettings:
        """Describe the token's lane."""
        names = [SHARED] if token == "first" else [SHARED, ALONE]  # noqa: S105 - a token's name
        return LaneSettings(
            token=msgspec.structs.replace(self.tokens[token], state_directory=str(directory)),
            keys=tuple(self.keys[name] for name in names),
            socket=str(directory / f"{token}.sock"),
            allowed_uids=(0, 1000),
        )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The two tokens."""
    directory = tmp_path_factory.mktemp("pair")
    pin = PinFile(str(write_pin(directory / "pin", PIN)))
    made = {
        name: create_softhsm_token(directory / name, name, PIN, "so-624180")
        for name in ("first", "second")
    }
    keys = {
        SHARED: store_key(list(made.values()), SHARED, "05"),
        ALONE: store_key([made["second"]], ALONE, "06"),
    }
    shims = {name: Shim.before(made[name].module, directory / f"{name}.shim") for name in made}
    tokens = {
        name: TokenSettings(
            name, str(MODULE), name, pin, "", token.environment | shims[name].environment
        )
        for name, token in made.items()
    }
    return Pair(shims, tokens, keys)


@asynccontextmanager
async def open_queue(pair: Pair, directory: Path) -> AsyncIterator[SigningQueue]:
    """Sign with a lane on each token."""
    async with AsyncExitStack() as stack:
        sockets = {}
        for token in pair.tokens:
            settings = pair.lane(token, directory)
            lane = await start_lane(settings)
            stack.push_async_callback(lane.stop)
            sockets[token] = [Path(settings.socket)]
        queue = SigningQueue(
            sockets,
            {SHARED: ["first", "second"], ALONE: ["second"]},
            QueueSettings(),
            SystemClock(),
        )
        queue.start()
        stack.push_async_callback(queue.aclose)
        async with asyncio.timeout(10):
            while set(queue.lanes_up().values()) != {1}:  # noqa: ASYNC110 - the queue has no event for it
                await asyncio.sleep(0.01)
        yield queue


def run(pair: Pair, directory: Path, scene: Callable[[SigningQueue], Awaitable[None]]) -> None:
    """Play a scene."""

    async def play() -> None:
        async with open_queue(pair, directory) as queue:
            await scene(queue)

    try:
        asyncio.run(play())
    finally:
        for shim in pair.shims.values():
            shim.clear()
            shim.return_token()


def make_jobs(key: str, count: int) -> list[SigningJob]:
    """Jobs with half a minute each."""
    deadline = time.monotonic() + 30
    digests = [hashlib.sha256(f"{key} {at}".encode()).digest() for at in range(count)]
    return [SigningJob(key, "sha256", digest, deadline) for digest in digests]


async def check_signed(pair: Pair, queue: SigningQueue, key: str, count: int) -> None:
    """Have jobs signed, each signature with its digest and key."""
    jobs = make_jobs(key, count)
    for job, signature in zip(jobs, await queue.sign_many(jobs), strict=True):
        assert isinstance(signature, bytes), signature
        assert verifies(pair.keys[key].public_key, "sha256", job.digest, signature)


def signatures(pair: Pair) -> dict[str, int]:
    """How many each token has made."""
    return {name: shim.count("C_Sign") for name, shim in pair.shims.items()}


def test_load_spreads_by_measured_speed(pair: Pair, short_path: Path) -> None:
    """Both tokens sign the shared key; the one that is slow gets the smaller share."""

    async def scene(queue: SigningQueue) -> None:
        pair.shims["second"].delay("C_Sign", 0.01)
        await check_signed(pair, queue, SHARED, 100)  # the lanes' speeds become known
        before = signatures(pair)
        for _ in range(10):
            await check_signed(pair, queue, SHARED, 40)
        made = {name: count - before[name] for name, count in signatures(pair).items()}
        assert sum(made.values()) == 400
        assert 0 < made["second"] < made["first"]

    run(pair, short_path, scene)


def test_loss_of_a_token_costs_only_its_share(pair: Pair, short_path: Path) -> None:
    """Without the second token every shared job is still signed; its own key is refused by name, at once."""

    async def scene(queue: SigningQueue) -> None:
        await check_signed(pair, queue, ALONE, 4)
        pair.shims["second"].remove_token()
        for _ in range(10):
            await check_signed(pair, queue, SHARED, 20)
        refused = await queue.sign_many(make_jobs(ALONE, 4))
        assert all(isinstance(each, HsmUnavailable) for each in refused)
        assert queue.lanes_up() == {"first": 1, "second": 0}

    run(pair, short_path, scene)


def test_service_starts_without_one_of_its_tokens(
    pair: Pair, demo_home: Path, tmp_path: Path
) -> None:
    """A token that cannot be opened at start is said and probed; keys that another token holds are signed with."""
    home = copy_home(demo_home, tmp_path)
    file = home / "appliance.toml"
    absent = msgspec.structs.replace(pair.tokens["first"], label="absent")
    environment = "".join(f'{name} = "{value}"\n' for name, value in absent.environment.items())
    pin_file = absent.pin.path
    file.write_text(
        re.sub(
            r'^(\[\[key\]\]\n(?:\w.*\n)*?)token = "demo"$',
            r'\1token = ["absent", "demo"]',
            file.read_text(),
            flags=re.MULTILINE,
        )
        + f'\n[[token]]\nname = "absent"\nmodule = "{MODULE}"\nlabel = "absent"\n'
        + f'pin_file = "{pin_file}"\n[token.environment]\n{environment}'
    )
    with serve(home) as running:
        assert running.issue().status == 200
        wait_until(lambda: running.errors.read_text().count("child-not-started") >= 2, 30, "probes")
        assert "token-not-opened" in running.errors.read_text()
        assert running.request("GET", "/readyz").status == 200
