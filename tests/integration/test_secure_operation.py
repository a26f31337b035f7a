"""Securing a message while conventions change."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.clock import FixedClock
from appliance.conventions.model import ClientConvention
from appliance.errors import ConventionViolation
from appliance.operations.issue import IssueSettings
from appliance.operations.secure import SecureOperation, read_soap
from appliance.vectors.model import IssuedVector, RequestContext, VectorRequest
from tests.issuing import Room, make_room
from tests.messages import SOAP
from tests.partners import CLIENT, CONTEXT, make_registry
from tests.pki import NOW, make_pki

MESSAGE = b"<s:Envelope xmlns:s='%b'><s:Body/></s:Envelope>" % SOAP["1.1"].encode()


@dataclass
class ReloadedMeanwhile:
    """Issues after a reload that falls between the look at the convention and the vector."""

    room: Room
    conventions: Sequence[ClientConvention]

    async def issue(self, request: VectorRequest, context: RequestContext) -> IssuedVector:
        """Have the conventions in force, then issue."""
        self.room.cell.current = make_registry(*self.conventions)
        return await self.room.issue.issue(request, context)


@pytest.mark.parametrize(("signed", "is_secured"), [((), True), (("body",), False)])
def test_convention_that_comes_into_force_meanwhile(
    tmp_path: Path, signed: tuple[str, ...], *, is_secured: bool
) -> None:
    """Its messages get their vector, unless it has them signed: nobody knew that this one must be held whole."""

    async def run() -> None:
        async with make_room(tmp_path, {"signer": make_pki("ours").leaf}) as room:
            convention = replace(CLIENT, soap_signed=signed)
            secure = SecureOperation(
                registry=room.cell,
                issue=ReloadedMeanwhile(room, [convention]),
                keys=room.keyring,
                signer=room.signer,
                trace=room.trace,
                clock=FixedClock(NOW),
                settings=IssueSettings(),
            )
            assert not secure.signs_body(convention.id)
            asked = VectorRequest(convention.id, subject="agent-0042", pagms=("PAGM_GESTION",))
            vectors: list[IssuedVector] = []
            securing = secure.secure(read_soap(MESSAGE), asked, CONTEXT, announce=vectors.append)
            if is_secured:
                assert b"wsse:Security" in (await securing).message.octets
            else:
                with pytest.raises(ConventionViolation, match="no convention `client` yet"):
                    await securing
            assert len(vectors) == 1  # so that what became of the message can be traced with it
            assert len(room.signer.calls) == 1  # for the vector

    asyncio.run(run())
