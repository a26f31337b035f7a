"""Which signatures a worker may release unverified."""

from appliance.signing.release import EVERY, ReleaseCheck


def test_every_64th_of_a_key_is_verified() -> None:
    """The first of each key, and then one in 64, whatever other keys do meanwhile."""
    check = ReleaseCheck()
    verified = []
    for at in range(3 * EVERY):
        if not check.may_trust("a"):
            verified.append(at)
        if at == EVERY // 2:
            assert not check.may_trust("b")
    assert verified == [0, EVERY, 2 * EVERY]


def test_a_fault_ends_the_trust_for_a_thousand_signatures() -> None:
    """After a fault 1,024 in a row must verify; another fault among them begins the count anew."""
    check = ReleaseCheck()
    check.may_trust("a")
    assert check.may_trust("a")
    check.note_fault("a")
    for _ in range(1000):
        assert not check.may_trust("a")
    check.note_fault("a")
    for _ in range(1024):
        assert not check.may_trust("a")
    assert not check.may_trust("a")
    assert check.may_trust("a")
