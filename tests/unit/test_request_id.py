"""The names of requests."""

from appliance.server.request_id import choose_request_id


def test_made_ids_differ() -> None:
    """Ids of ours are 24 hexadecimal digits each, and none comes twice, however many are made of one look at the random source."""
    made = [choose_request_id(None) for _ in range(2000)]
    assert len(set(made)) == 2000
    assert {len(each) for each in made} == {24}
    assert set("".join(made)) <= set("0123456789abcdef")
