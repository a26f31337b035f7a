"""No vector crosses a boundary through what workers share, while the convention files change and are reloaded, one worker after the other."""

import asyncio
import base64
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings, strategies as st
from lxml import etree

from appliance.cache.shared_memory import SharedMemory, prepare_shared_memory
from appliance.cache.vector_cache import CacheLimits, VectorCache
from appliance.conventions.builder import HomeParts, RegistryBuilder
from appliance.errors import ConventionViolation
from appliance.vectors.model import VectorRequest
from tests.integration.test_reuse import HOLDERS, MovingClock
from tests.issuing import Room, make_room
from tests.messages import ISSUER, LEVEL, RECIPIENT
from tests.partners import CONTEXT
from tests.pki import NOW

WORKERS = 3
SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"


@dataclass(frozen=True)
class Agreed:
    """What a convention file says, as far as it changes here."""

    audience: str = "http://service/a"
    pagms: tuple[str, ...] = ("PAGM_A", "PAGM_B")
    key: Literal["signer", "next"] = "signer"
    margin: int = 60

    def write(self, file: Path) -> None:
        """Write the file, whole, as an administrator's editor does."""
        lines = {
            "role": '"client"',
            "issuer": f'"{ISSUER}"',
            "audience": f'"{self.audience}"',
            "recipient": f'"{RECIPIENT}"',
            "levels": f'["{LEVEL}"]',
            "pagms": str([*self.pagms]).replace("'", '"'),
            "key": f'"{self.key}"',
            "reuse.allowed": "true",
            "reuse.margin": f'"{self.margin}s"',
        }
        new = file.with_suffix(".new")
        new.write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))
        new.replace(file)


@dataclass(frozen=True)
class Ask:
    """Somebody asks a worker for a vector."""

    worker: int
    convention: Literal["ours", "theirs"]
    subject: str | None
    pagm: str
    after: int


@dataclass(frozen=True)
class Change:
    """A file changes, and the workers take the files in, in this order; those before `asking` have it while others have not."""

    convention: Literal["ours", "theirs"]
    agreed: Agreed
    order: tuple[int, ...]


agreed = st.builds(
    Agreed,
    audience=st.sampled_from(("http://service/a", "http://service/b")),
    pagms=st.sampled_from((("PAGM_A", "PAGM_B"), ("PAGM_B",))),
    key=st.sampled_from(("signer", "next")),
    margin=st.sampled_from((60, 600)),
)
conventions = st.sampled_from(("ours", "theirs"))
asks = st.builds(
    Ask,
    worker=st.integers(0, WORKERS - 1),
    convention=conventions,
    subject=st.sampled_from(("agent-1", "agent-2", None)),
    pagm=st.sampled_from(("PAGM_A", "PAGM_B")),
    after=st.sampled_from((0, 1, 30, 3000, 3595, -5)),
)
changes = st.builds(
    Change,
    convention=conventions,
    agreed=agreed,
    order=st.lists(st.integers(0, WORKERS - 1), unique=True).map(tuple),
)


class Worker:
    """One worker: conventions of its own generation, a cache of its own, and the memory that all share."""

    def __init__(self, room: Room, vectors: VectorCache, home: Path) -> None:
        self.room = room
        self._vectors = vectors
        self._builder = RegistryBuilder(home / "conventions")
        self.files: dict[str, Agreed] = {}
        self.since = NOW

    def load(self, files: dict[str, Agreed], now: datetime) -> None:
        """Take the files in, as a commit does."""
        self.room.cell.current = self._builder.build(HomeParts(None, self.room.keyring))
        self._vectors.clear(now)
        self.files, self.since = dict(files), now


async def play(home: Path, moves: Sequence[Ask | Change]) -> list[bool]:
    """Make the moves; return which of the vectors were given out again."""
    clock, files = MovingClock(), {"ours": Agreed(), "theirs": Agreed("http://service/b")}
    (home / "conventions").mkdir()
    prepare_shared_memory(home / "shared", 1024**2)
    reused: list[bool] = []
    async with contextlib.AsyncExitStack() as stack:
        for name, said in files.items():
            said.write(home / "conventions" / f"{name}.toml")
        workers = []
        for at in range(WORKERS):
            shared = stack.enter_context(SharedMemory(home / "shared"))
            vectors = VectorCache(CacheLimits(4, 10**6), (shared,))
            (home / str(at)).mkdir()
            opening = make_room(home / str(at), HOLDERS, vectors=vectors, clock=clock)
            workers.append(Worker(await stack.enter_async_context(opening), vectors, home))
            workers[-1].load(files, clock.now())
        for move in moves:
            if isinstance(move, Change):
                files[move.convention] = move.agreed
                move.agreed.write(home / "conventions" / f"{move.convention}.toml")
                clock.instant += timedelta(seconds=1)
                for at in move.order:
                    workers[at].load(files, clock.now())
            else:
                clock.instant += timedelta(seconds=move.after)
                reused += await ask(workers[move.worker], move, clock.now())
    return reused


async def ask(worker: Worker, asked: Ask, now: datetime) -> list[bool]:
    """Ask for a vector; whatever comes states what the files said when this worker last read them, and is alive."""
    said = worker.files[asked.convention]
    request = VectorRequest(asked.convention, subject=asked.subject, pagms=(asked.pagm,))
    if asked.pagm not in said.pagms:
        with pytest.raises(ConventionViolation):
            await worker.room.issue.issue(request, CONTEXT)
        return []
    issued = await worker.room.issue.issue(request, CONTEXT)
    stated = etree.fromstring(
        issued.vector.assertion.octets
    )  # what left, and not what we noted of it
    assert stated.findtext(f".//{SAML}Audience") == said.audience
    assert stated.findtext(f".//{SAML}NameID") == (asked.subject or "NON_RENSEIGNE")
    values = [each.text for each in stated.iter(f"{SAML}AttributeValue")]
    assert values == [asked.pagm]
    certificate = stated.findtext(".//{http://www.w3.org/2000/09/xmldsig#}X509Certificate")
    key = worker.room.keyring.certified()[said.key]
    assert base64.b64decode(certificate or "") == key.certificates[0]
    conditions = stated.find(f"{SAML}Conditions")
    assert conditions is not None
    assert datetime.fromisoformat(conditions.get("NotBefore", "")) <= now
    ends = datetime.fromisoformat(conditions.get("NotOnOrAfter", ""))
    assert now < ends - timedelta(seconds=said.margin)
    if issued.reused:
        assert datetime.fromisoformat(stated.get("IssueInstant", "")) >= worker.since
    return [issued.reused]


@settings(max_examples=25)
@given(moves=st.lists(asks | asks | changes, max_size=25))
def test_no_vector_crosses_a_boundary(
    tmp_path_factory: pytest.TempPathFactory, moves: list[Ask | Change]
) -> None:
    """Other user, PAGM, partner, key, wording, margin, or an older generation of the files: through no cache, by no worker."""
    asyncio.run(play(tmp_path_factory.mktemp("workers"), moves))


def test_workers_do_share(tmp_path: Path) -> None:
    """The property above is not true for want of reuse: what one worker made the next gives out, until it reloads."""
    one, other = (Ask(at, "ours", "agent-1", "PAGM_B", 0) for at in (0, 1))
    reload = Change("ours", Agreed(), (1,))
    found = asyncio.run(play(tmp_path, [one, other, other, reload, other, one]))
    assert found == [False, True, True, False, True]
