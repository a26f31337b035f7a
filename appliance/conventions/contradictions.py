"""What no single file shows: conventions of one home that do not fit each other."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from appliance.conventions.model import ClientConvention, Convention, ProviderConvention

_EVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two conventions that cannot both be meant, and why."""

    first: str
    second: str
    detail: str


def find_contradictions(conventions: Iterable[Convention]) -> Iterator[Contradiction]:
    """Compare the conventions of each service of each client organisation with each other; those in force one after the other agree."""
    alike: defaultdict[tuple[str, str, str], list[Convention]] = defaultdict(list)
    for convention in conventions:
        identities = (convention.issuer, convention.audience, convention.recipient)
        alike[identities].append(convention)
    for group in alike.values():
        clients = [each for each in group if isinstance(each, ClientConvention)]
        providers = [each for each in group if isinstance(each, ProviderConvention)]
        for client in clients:
            yield from _reuse_against_replay(client, providers)
        yield from _same_at_once(providers)


def _reuse_against_replay(
    client: ClientConvention, providers: Iterable[ProviderConvention]
) -> Iterator[Contradiction]:
    for provider in providers:
        at_once = client.period.overlaps(provider.period)
        if at_once and client.reuse and provider.replay == "refuse":
            yield Contradiction(
                client.id,
                provider.id,
                'reuse.allowed = true, but the partner refuses a vector that comes twice (replay = "refuse")',
            )


def _same_at_once(providers: Iterable[ProviderConvention]) -> Iterator[Contradiction]:
    """Go through the periods in the order in which they begin, each beside the one before it that ends last."""
    lasting: ProviderConvention | None = None
    for each in sorted(providers, key=lambda p: p.period.begins or _EVER):
        if lasting is not None and lasting.period.overlaps(each.period):
            yield Contradiction(
                lasting.id,
                each.id,
                "both are for the same issuer, audience and recipient, at the same time: "
                "a vector falls under the first that takes it",
            )
        if lasting is None or _ends_later(each, lasting):
            lasting = each


def _ends_later(one: ProviderConvention, other: ProviderConvention) -> bool:
    ends, others = one.period.ends, other.period.ends
    return others is not None and (ends is None or ends > others)
