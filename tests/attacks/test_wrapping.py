"""Signature wrapping: every message holds a signature that libxmlsec finds good, and none is accepted with the attacker's words."""

import asyncio
import base64
from pathlib import Path

import pytest
import xmlsec
from lxml import etree

from appliance.conventions.registry import Registry
from appliance.native import SignatureRefused, locate, verify_signature
from appliance.operations.judge import Question, judge
from tests.issuing import make_room
from tests.messages import DS, Signing, make_vector
from tests.partners import CONTEXT, make_partner, make_provider
from tests.pki import NOW, Holder, Pki, ec_key, make_pki
from tests.service import RunningService
from tests.wrapping import (
    FORGED_NAME,
    FORGED_PAGM,
    GENUINE_NAME,
    GENUINE_PAGM,
    PLACES,
    SAML,
    SHAPES,
    Parts,
    forge,
    issue,
    make_message,
)

BEHIND_THE_GENUINE = "in soap:Body behind the genuine vector"
WRAPPED = [(shape, place) for place in PLACES for shape in SHAPES]
GENUINE_STANDS_ALONE = {
    *((shape, BEHIND_THE_GENUINE) for shape in SHAPES),
    ("7 forged in Extensions before the original", "in wsse:Security"),
}
"""Where the genuine vector is the one assertion in wsse:Security: it is accepted, for what it states itself."""


@pytest.fixture(scope="module")
def pki() -> Pki:
    """The partner's PKI."""
    return make_pki("partner")


@pytest.fixture(scope="module")
def registry(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The partner's convention."""
    return make_partner(tmp_path_factory.mktemp("partner"), pki)


@pytest.fixture(scope="module", params=["rsa", "ecdsa"])
def signer(request: pytest.FixtureRequest, pki: Pki) -> Holder:
    """Who signed the genuine vector."""
    return pki.leaf if request.param == "rsa" else pki.certify_leaf("ec", ec_key("signer"))


@pytest.fixture(scope="module")
def vector(signer: Holder) -> bytes:
    """A genuine vector."""
    return issue(signer)


def holds_somewhere(message: bytes) -> bool:
    """Whether libxmlsec finds a Signature of the message good, with the key of the certificate in it."""
    root = etree.fromstring(message)
    xmlsec.tree.add_ids(root, ["ID"])
    return any(holds(signature) for signature in root.iter(f"{{{DS}}}Signature"))


def holds(signature: "etree._Element") -> bool:
    """Whether libxmlsec finds one Signature good."""
    certificate = base64.b64decode(signature.findtext(f".//{{{DS}}}X509Certificate") or "")
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(certificate, xmlsec.constants.KeyDataFormatCertDer, None)
    try:
        context.verify(signature)
    except xmlsec.Error:
        return False
    return True


@pytest.mark.parametrize(("shape", "place"), WRAPPED)
def test_wrapped_in_the_core(signer: Holder, vector: bytes, shape: str, place: str) -> None:
    """Libxmlsec finds the signature good; the core refuses, or returns the genuine vector where that is the only one."""
    message = make_message(vector, shape, place)
    assert FORGED_NAME.encode() in message
    assert holds_somewhere(message)
    assertion = locate(message).assertion
    if (shape, place) in GENUINE_STANDS_ALONE:
        assert assertion is not None
        verified = assertion.signature_claim().verify(lambda _: signer.public_key)
        assert verified.octets == Parts.of(vector).bare.encode()
    elif assertion is not None:
        with pytest.raises(SignatureRefused):
            assertion.signature_claim().verify(lambda _: signer.public_key)


@pytest.mark.parametrize(("shape", "place"), WRAPPED)
def test_wrapped_for_the_generic_profile(
    signer: Holder, vector: bytes, shape: str, place: str
) -> None:
    """Whoever verifies any document gets the genuine element or a refusal, never an octet of the attacker's."""
    refusals = {"several-signatures", "signature-profile", "digest-mismatch"}
    assert generic(make_message(vector, shape, place), signer) in {
        Parts.of(vector).bare.encode(),
        *refusals,
    }


def generic(message: bytes, signer: Holder) -> bytes | str:
    """The verified octets, or the reason of the refusal."""
    try:
        return verify_signature(message, signer.public_key)
    except SignatureRefused as exc:
        return exc.reason


@pytest.mark.parametrize("place", PLACES)
def test_wrapped_for_the_operation(pki: Pki, vector: bytes, place: str, tmp_path: Path) -> None:
    """The route of a received vector refuses and traces the refusal; the forged name and PAGM are in no entry."""
    pki.write(tmp_path)
    messages = {shape: make_message(vector, shape, place) for shape in SHAPES}

    async def run() -> dict[str, str | None]:
        async with make_room(tmp_path, {}, make_provider(tmp_path)) as room:
            accepted = {}
            for shape, message in messages.items():
                verdict = (await room.verify.verify(message, CONTEXT, None, None)).accepted
                accepted[shape] = None if verdict is None else verdict.vector.name_id
            assert FORGED_NAME not in repr(room.entries())
            assert FORGED_PAGM not in repr(room.entries())
            assert len(room.entries()) == len(messages)
            return accepted

    assert asyncio.run(run()) == {
        shape: GENUINE_NAME if (shape, place) in GENUINE_STANDS_ALONE else None for shape in SHAPES
    }


@pytest.mark.hsm
@pytest.mark.parametrize("place", ["alone", "in wsse:Security", BEHIND_THE_GENUINE])
def test_wrapped_over_http(service: RunningService, place: str) -> None:
    """A vector of the running service, wrapped, is refused by it, or accepted for what it states itself."""
    genuine = service.issue().json["assertion"].encode()
    for shape in SHAPES:
        message = make_message(genuine, shape, place)
        assert holds_somewhere(message)
        answer = service.verify(message)
        assert answer.status == 200
        assert FORGED_NAME.encode() not in answer.body
        assert FORGED_PAGM.encode() not in answer.body
        is_genuine = (shape, place) in GENUINE_STANDS_ALONE
        assert answer.json["verdict"] == ("accepted" if is_genuine else "refused"), shape


@pytest.mark.parametrize("shape", SHAPES)
def test_forged_under_the_genuine_id(registry: Registry, vector: bytes, shape: str) -> None:
    """The forged assertion takes the original's ID, so that the Reference seems to mean it: its octets were never signed."""
    for place in PLACES:
        if (shape, place) in GENUINE_STANDS_ALONE:
            continue
        parts = Parts.of(vector)
        genuine_id = etree.fromstring(vector).get("ID", "").encode()
        forged_id = etree.fromstring(parts.forged).get("ID", "").encode()
        message = make_message(vector, shape, place).replace(forged_id, genuine_id)
        assert judge(Question(message), registry, NOW).accepted is None, place


@pytest.mark.parametrize("variant", ["A", "B"])
def test_empty_reference_is_the_assertion_and_nothing_more(
    pki: Pki, tmp_path: Path, variant: str
) -> None:
    """Variant B signs "the document": the isolated assertion, so that nothing can be put around it or into it."""
    registry = make_partner(tmp_path, pki, allow_sha1=True)
    genuine = make_vector(Signing(pki.leaf, variant), name_id=GENUINE_NAME)
    assert judge(Question(genuine), registry, NOW).accepted is not None
    root = etree.fromstring(genuine)
    signature = root.find(f"{{{DS}}}Signature")
    assert signature is not None
    root.remove(signature)
    bare = etree.tostring(root).decode()
    inside = "".join(
        f"<saml2:Advice xmlns:saml2='{SAML}'>{hidden}</saml2:Advice>"
        for hidden in (genuine.decode(), bare)
    )
    moved = etree.tostring(signature).decode()
    for message in (
        forge(bare).replace("</saml2:Assertion>", f"{moved}</saml2:Assertion>"),
        forge(bare).replace("</saml2:Assertion>", f"{inside}{moved}</saml2:Assertion>"),
        bare.replace("</saml2:Assertion>", f"{moved}{inside}</saml2:Assertion>"),
    ):
        assert GENUINE_PAGM in message or FORGED_PAGM in message
        assert judge(Question(message.encode()), registry, NOW).accepted is None
