"""Vectors signed by a real lane on a real token, for each kind of key."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key

from appliance.clock import SystemClock
from appliance.signing.queue import SigningQueue
from appliance.signing.settings import QueueSettings
from appliance.vectors.model import IssuedVector, VectorRequest
from tests.issuing import make_room
from tests.messages import MORE
from tests.partners import CLIENT, CONTEXT, make_provider
from tests.pki import make_pki
from tests.softhsm import SoftHsm, run_lane

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

ALGORITHMS = {"rsa-2048": "rsa-sha256", "rsa-4096": "rsa-sha512", "p-256": "ecdsa-sha256"}


def test_every_kind_of_key(softhsm: SoftHsm, short_path: Path, tmp_path: Path) -> None:
    """A batch over three keys of the token: each vector is signed there, checked, traced, and accepted by its partner."""
    pki = make_pki("partner")
    pki.write(tmp_path)
    holders = {
        name: pki.certify_leaf(name, load_der_public_key(softhsm.keys[name].public_key))
        for name in ALGORITHMS
    }
    clients = [
        replace(CLIENT, id=name, key=name, signature_algorithm=f"{MORE}{algorithm}")
        for name, algorithm in ALGORITHMS.items()
    ]
    requests = [
        VectorRequest(name, subject=f"agent-{at}", pagms=("PAGM_GESTION",))
        for at, name in enumerate([*ALGORITHMS] * 4)
    ]

    async def run(socket: Path) -> None:
        queue = SigningQueue(
            {"main": [socket]},
            {key: ["main"] for key in ALGORITHMS},
            QueueSettings(),
            SystemClock(),
        )
        queue.start()
        provider = make_provider(tmp_path)
        async with make_room(tmp_path, holders, *clients, provider, queue=queue) as room:
            results = await room.issue.issue_batch(requests, CONTEXT)
            assert len(room.entries()) == len(requests)
            for request, issued in zip(requests, results, strict=True):
                assert isinstance(issued, IssuedVector), issued
                octets = issued.vector.assertion.octets
                verdict = await room.verify.verify(octets, CONTEXT, None, None)
                assert verdict.accepted is not None
                assert verdict.accepted.vector.name_id == request.subject
        await queue.aclose()

    with run_lane(softhsm.lane_settings(short_path)) as lane:
        asyncio.run(run(lane.socket))
