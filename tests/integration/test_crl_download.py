"""CRLs fetched from the addresses that conventions name, by a real server on loopback: what is taken, and what changes nothing."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.conventions.registry import Registry
from appliance.operations.judge import Question, judge
from appliance.operations.verify import verdict_of
from appliance.trust.crl_download import CrlDownloads
from appliance.trust.download import Limits
from tests.homes import copy_home
from tests.messages import Signing, make_vector
from tests.partners import make_provider, make_registry, write_provider
from tests.pki import NOW, Pki, crl_pem, make_crl, make_pki, write_pem
from tests.publisher import Publisher, publish, trickle
from tests.service import serve, wait_until


@dataclass
class ManualClock:
    """A clock that a test moves."""

    at: datetime = NOW
    seconds: float = 0.0

    def now(self) -> datetime:
        """The wall time."""
        return self.at

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds


@pytest.fixture(scope="module")
def pki() -> Pki:
    """A partner's PKI."""
    return make_pki("partner")


@pytest.fixture
def clock() -> ManualClock:
    """The time."""
    return ManualClock()


def partner(directory: Path, pki: Pki, *addresses: str, **fields: object) -> Registry:
    """A convention that fetches the CRLs of all CAs of the PKI; there is none in its directory."""
    (directory / "crl").mkdir(exist_ok=True)
    write_pem(directory / "root.pem", *pki.authorities)
    convention = make_provider(directory, crl_addresses=addresses, **fields)
    return make_registry(convention)


def refresh(registry: Registry, clock: ManualClock) -> CrlDownloads:
    """Fetch once."""
    downloads = CrlDownloads(lambda: registry.crl_sources, clock)
    asyncio.run(downloads.refresh())
    return downloads


def reason(registry: Registry, pki: Pki, at: datetime = NOW) -> str:
    """Judge a vector by what the directories hold now."""
    for each in registry.watched():
        each.crls.look()
    found = verdict_of(judge(Question(make_vector(Signing(pki.leaf))), registry, at)).fault
    return "accepted" if found is None else found.reason.value


def addresses(server: Publisher) -> list[str]:
    """Where the three CAs of a PKI publish."""
    return [f"{server.address}/{name}" for name in ("root", "intermediate", "issuing")]


def test_what_is_published_counts(pki: Pki, clock: ManualClock, tmp_path: Path) -> None:
    """From an empty directory to an accepted vector, then to a revoked signer; DER and PEM, no matter; nothing is left beside."""
    root, intermediate, issuing = pki.crls()
    with publish(root=root, intermediate=crl_pem(intermediate), issuing=issuing) as server:
        registry = partner(tmp_path, pki, *addresses(server))
        assert reason(registry, pki) == "revocation-unknown"
        downloads = refresh(registry, clock)
        assert reason(registry, pki) == "accepted"
        server.documents["/issuing"] = make_crl(pki.issuing, [pki.leaf], begins=NOW)
        asyncio.run(downloads.refresh())
        assert reason(registry, pki) == "accepted"  # it is not time yet
        clock.seconds += 3600
        asyncio.run(downloads.refresh())
        assert reason(registry, pki) == "certificate-revoked"
    assert len(server.asked) == 6
    names = sorted(file.name for file in (tmp_path / "crl").iterdir())
    assert [name[:8] for name in names] == ["fetched-"] * 3


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda _: b"rubbish", id="rubbish"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda _: 404, id="absent"),
        pytest.param(lambda _: 302, id="elsewhere"),
        pytest.param(lambda pki: make_crl(pki.issuing, ends=NOW), id="stale"),
        pytest.param(
            lambda pki: make_crl(pki.issuing, begins=NOW + timedelta(hours=1)), id="early"
        ),
        pytest.param(lambda pki: make_crl(pki.issuing, begins=NOW - timedelta(days=2)), id="older"),
        pytest.param(lambda pki: make_crl(pki.root), id="of another CA"),
        pytest.param(lambda pki: make_crl(pki.issuing, hash_name="sha1"), id="weak"),
        pytest.param(lambda pki: make_crl(pki.issuing, signer=pki.root.key), id="forged"),
    ],
)
def test_what_changes_nothing(
    pki: Pki, clock: ManualClock, tmp_path: Path, caplog: pytest.LogCaptureFixture, wrong: object
) -> None:
    """What is no current CRL of this CA, signed by it and no older than the one at hand, is left where it is; the log says so."""
    root, intermediate, issuing = pki.crls()
    with publish(root=root, intermediate=intermediate, issuing=issuing) as server:
        registry = partner(tmp_path, pki, *addresses(server))
        downloads = refresh(registry, clock)
        before = {file: file.read_bytes() for file in (tmp_path / "crl").iterdir()}
        server.documents["/issuing"] = wrong(pki)  # type: ignore[operator]  # of the table above
        clock.seconds += 3600
        asyncio.run(downloads.refresh())
        assert {file: file.read_bytes() for file in (tmp_path / "crl").iterdir()} == before
        assert reason(registry, pki) == "accepted"
        assert [record.msg for record in caplog.records] == ["crl-not-fetched"]
        server.documents["/issuing"] = make_crl(pki.issuing, [pki.leaf], begins=NOW)
        clock.seconds += 60  # what failed is asked for again in a minute, the rest in an hour
        asyncio.run(downloads.refresh())
        assert reason(registry, pki) == "certificate-revoked"
    assert server.asked.count("/root") == 2
    assert server.asked.count("/issuing") == 3


def test_list_of_a_ca_that_is_not_at_hand(
    pki: Pki, clock: ManualClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the CA's certificate a list is kept unproven, which the log says, and never believed: a forged one revokes nobody's revocation."""
    caplog.set_level(logging.INFO)
    root, intermediate, _ = pki.crls()
    revoking = make_crl(pki.issuing, [pki.leaf])
    with publish(root=root, intermediate=intermediate, issuing=revoking) as server:
        partner(tmp_path, pki)
        write_pem(tmp_path / "root.pem", pki.root)
        registry = make_registry(make_provider(tmp_path, crl_addresses=addresses(server)))
        downloads = refresh(registry, clock)
        assert reason(registry, pki) == "certificate-revoked"
        assert {each.msg for each in caplog.records} == {"crl-unproven"}
        unproven = {vars(each)["fields"]["ca"] for each in caplog.records}
        assert unproven == {each.name.rfc4514_string() for each in (pki.intermediate, pki.issuing)}
        forged = make_crl(pki.issuing, begins=NOW, signer=pki.root.key)
        server.documents["/issuing"] = forged
        clock.seconds += 3600
        asyncio.run(downloads.refresh())
        assert reason(registry, pki) == "revocation-unknown"
        server.documents["/issuing"] = make_crl(pki.issuing, begins=NOW + timedelta(seconds=1))
        clock.seconds += 3600
        asyncio.run(downloads.refresh())
        assert reason(registry, pki, NOW + timedelta(seconds=1)) == "accepted"


def test_next_list_of_a_ca_that_publishes_late(
    pki: Pki, clock: ManualClock, tmp_path: Path
) -> None:
    """A CA may publish its next list when the last one ends: it is asked again and again towards that end, and there each minute."""
    root, intermediate, _ = pki.crls()
    ends = NOW + timedelta(minutes=40)
    ending = make_crl(pki.issuing, ends=ends)
    with publish(root=root, intermediate=intermediate, issuing=ending) as server:
        registry = partner(tmp_path, pki, *addresses(server))
        downloads = refresh(registry, clock)
        asked_at: list[int] = []
        for _ in range(41 * 60 // 20):
            clock.seconds += 20
            clock.at += timedelta(seconds=20)
            before = len(server.asked)
            if clock.at >= ends:
                server.documents["/issuing"] = make_crl(pki.issuing, begins=ends)
            asyncio.run(downloads.refresh())
            asked_at += [int(clock.seconds)] * (len(server.asked) - before)
        assert asked_at[:3] == [1200, 1800, 2100]
        assert asked_at[-1] <= 2400 + 60
        assert len(asked_at) < 15
        assert server.asked.count("/root") == 1
        assert reason(registry, pki, ends) == "accepted"


def test_shorter_pause_counts_at_once(pki: Pki, clock: ManualClock, tmp_path: Path) -> None:
    """A reload that wants CRLs more often is not told to wait for what the convention said before."""
    with publish(root=make_crl(pki.root)) as server:
        (tmp_path / "crl").mkdir()
        write_pem(tmp_path / "root.pem", pki.root)
        address = (f"{server.address}/root",)
        sources = [make_registry(make_provider(tmp_path, crl_addresses=address)).crl_sources]
        downloads = CrlDownloads(lambda: sources[-1], clock)
        asyncio.run(downloads.refresh())
        hasty = make_provider(tmp_path, crl_addresses=address, crl_refresh=120.0)
        sources.append(make_registry(hasty).crl_sources)
        clock.seconds += 119
        asyncio.run(downloads.refresh())
        assert len(server.asked) == 1
        clock.seconds += 1
        asyncio.run(downloads.refresh())
        assert len(server.asked) == 2


def test_download_has_bounds(
    pki: Pki, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too large, too slow, or nobody there: the others are fetched all the same, and the connection is closed."""
    root, intermediate, issuing = pki.crls()
    large = make_crl(pki.issuing, [pki.certify_leaf("x", pki.leaf.key)] * 20)
    most = max(map(len, (root, intermediate, issuing)))
    assert len(large) > most
    monkeypatch.setattr("appliance.trust.crl_download._LIMITS", Limits(most, 0.5))
    with publish(root=root, intermediate=intermediate, issuing=large) as server, trickle() as slow:
        nowhere = "http://127.0.0.1:1/"
        registry = partner(tmp_path, pki, slow[0], nowhere, *addresses(server))
        refresh(registry, clock)
        assert len(list((tmp_path / "crl").iterdir())) == 2
        assert reason(registry, pki) == "revocation-unknown"
        server.documents["/issuing"] = issuing
        refresh(make_registry(make_provider(tmp_path, crl_addresses=addresses(server)[2:])), clock)
        assert reason(registry, pki) == "accepted"


def test_servers_that_hang_hold_up_nobody(pki: Pki, clock: ManualClock, tmp_path: Path) -> None:
    """Many addresses of servers that never answer: what others publish is fetched meanwhile, and fetched again when it is due."""
    root, intermediate, issuing = pki.crls()

    async def run(registry: Registry, server: Publisher) -> None:
        downloads = CrlDownloads(lambda: registry.crl_sources, clock)
        running = asyncio.create_task(downloads.run())

        def asked_often() -> bool:
            clock.seconds += 3600
            return len(server.asked) >= 9

        await asyncio.to_thread(wait_until, asked_often, 20, "downloads")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    with publish(root=root, intermediate=intermediate, issuing=issuing) as server:
        with trickle() as (slow, _), trickle() as (slower, _):
            dead = [f"{each}{at}" for each in (slow, slower) for at in range(20)]
            registry = partner(tmp_path, pki, *dead, *addresses(server))
            asyncio.run(run(registry, server))
        assert reason(registry, pki) == "accepted"


def test_the_last_crl_serves_until_it_ends_and_through_its_grace(
    pki: Pki, clock: ManualClock, tmp_path: Path
) -> None:
    """A CA that publishes nothing more: accepted until the next update, then as long as the grace says, then refused."""
    root, intermediate, issuing = pki.crls()
    with publish(root=root, intermediate=intermediate, issuing=issuing) as server:
        fields = {"crl_grace": 3600.0, "maximum_lifetime": None}
        registry = partner(tmp_path, pki, *addresses(server), **fields)
        refresh(registry, clock)
    end = NOW + timedelta(days=6)
    refresh(registry, ManualClock(end, 1e6))
    message = make_vector(
        Signing(pki.leaf),
        not_on_or_after=(end + timedelta(days=1)).isoformat(),
        confirmation_not_on_or_after=(end + timedelta(days=1)).isoformat(),
    )

    def found(at: datetime) -> str:
        fault = verdict_of(judge(Question(message), registry, at)).fault
        return "accepted" if fault is None else fault.reason.value

    hour = timedelta(hours=1)
    assert [found(end + hour * at) for at in (-1, 0.5, 1, 2)] == [
        *("accepted", "accepted"),
        *("revocation-unknown", "revocation-unknown"),
    ]


def test_disk_that_fails_leaves_the_last_one(
    pki: Pki, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that cannot be written whole is none: the last one stays, and no half of a file beside it."""
    root, intermediate, issuing = pki.crls()

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    with publish(root=root, intermediate=intermediate, issuing=issuing) as server:
        registry = partner(tmp_path, pki, *addresses(server))
        downloads = refresh(registry, clock)
        before = {file: file.read_bytes() for file in (tmp_path / "crl").iterdir()}
        server.documents["/issuing"] = make_crl(pki.issuing, [pki.leaf], begins=NOW)
        clock.seconds += 3600
        with monkeypatch.context() as full:
            full.setattr("appliance.trust.crl_download.os.fsync", fail)
            asyncio.run(downloads.refresh())
        assert {file: file.read_bytes() for file in (tmp_path / "crl").iterdir()} == before
        assert reason(registry, pki) == "accepted"


def test_one_address_is_asked_once(pki: Pki, clock: ManualClock, tmp_path: Path) -> None:
    """Conventions that share a directory share what is fetched into it, as often as the one in the greatest hurry wants it."""
    with publish(root=make_crl(pki.root)) as server:
        address = f"{server.address}/root"
        write_pem(tmp_path / "root.pem", pki.root)
        (tmp_path / "crl").mkdir()
        registry = make_registry(
            *(
                make_provider(
                    tmp_path, id=f"c{at}", crl_addresses=(address,), crl_refresh=60.0 * at
                )
                for at in range(1, 20)
            )
        )
        [source] = registry.crl_sources
        assert source.every == 60.0
        refresh(registry, clock)
        assert server.asked == ["/root"]


@pytest.mark.hsm
@pytest.mark.slow
def test_crl_published_on_the_network_while_serving(demo_home: Path, tmp_path: Path) -> None:
    """The service with an empty directory fetches, accepts, and refuses a signer once the CA's server says that it is revoked."""
    now, pki = datetime.now(UTC), make_pki("partner")
    period = {"begins": now - timedelta(hours=1), "ends": now + timedelta(days=2)}
    home = copy_home(demo_home, tmp_path)
    trust = home / "pki" / "partner"
    (trust / "crl").mkdir(parents=True)
    write_pem(trust / "root.pem", pki.root)
    vector = make_vector(
        Signing(pki.leaf),
        issue_instant=now.isoformat(),
        confirmation_not_on_or_after=(now + timedelta(hours=2)).isoformat(),
        not_before=(now - timedelta(minutes=5)).isoformat(),
        not_on_or_after=(now + timedelta(hours=2)).isoformat(),
    )
    names = ("root", "intermediate", "issuing")
    crls = [make_crl(each, **period) for each in pki.authorities]
    with publish(**dict(zip(names, crls, strict=True))) as server:
        fields = {
            "trust.crl_addresses": str(addresses(server)).replace("'", '"'),
            "trust.crl_refresh": '"1s"',
        }
        write_provider(home, "partner", "pki/partner", **fields)
        with serve(home) as running:

            def found() -> str:
                answer = running.verify(vector).json
                return "accepted" if answer["verdict"] == "accepted" else answer["fault"]["reason"]

            wait_until(lambda: found() == "accepted", 30, "the CRLs")
            revoking = make_crl(pki.issuing, [pki.leaf], **period)
            server.documents["/issuing"] = revoking
            wait_until(lambda: found() == "certificate-revoked", 30, "the revocation")
