"""What no single file shows: conventions of one home that do not fit each other."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from appliance.conventions.model import ClientConvention, Convention, ProviderConvention


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two conventions that cannot both be meant, and why."""

    first: str
    second: str
    detail: str


def find_contradictions(conventions: Iterable[Convention]) -> Iterator[Contradiction]:
    """Compare the conventions of each service of each client organisation; what they say of each other takes linear time."""
    alike: defaultdict[tuple[str, str, str], list[Convention]] = defaultdict(list)
    for convention in conventions:
        identities = (convention.issuer, convention.audience, convention.recipient)
        alike[identities].append(convention)
    for group in alike.values():
        clients = [each for each in group if isinstance(each, ClientConvention)]
        providers = [each for each in group if isinstance(each, ProviderConvention)]
        for client in clients:
            yield from _reuse_against_replay(client, providers)
        for first, second in itertools.pairwise(providers):
            yield Contradiction(
                first.id,
                second.id,
                "both are for the same issuer, audience and recipient: a vector falls under the first that takes it",
            )


def _reuse_against_replay(
    client: ClientConvention, providers: Iterable[ProviderConvention]
) -> Iterator[Contradiction]:
    for provider in providers:
        if client.reuse and provider.replay == "refuse":
            yield Contradiction(
                client.id,
                provider.id,
                'reuse.allowed = true, but the partner refuses a vector that comes twice (replay = "refuse")',
            )
