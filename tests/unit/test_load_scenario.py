"""What the load tool reads of a batch that it needs before it can begin."""

import msgspec

from bench.load.scenario import _Batch


def test_refused_item_of_a_batch_is_passed_over() -> None:
    """An item that was refused, as under other load, does not keep the others from being used."""
    answer = b'{"results":[{"error":{"reason":"queue-timeout","detail":"x"}},{"vector":{"assertion":"<a/>"}}]}'
    items = msgspec.json.decode(answer, type=_Batch).results
    assert [each.vector.assertion for each in items if each.vector is not None] == ["<a/>"]
