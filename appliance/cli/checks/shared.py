"""What several appliances share: does the server answer, and may it forget which vectors came."""

import asyncio
from collections.abc import Iterator

from appliance.cache.valkey import Valkey, ValkeyUnavailable
from appliance.cli.checks.finding import Finding, failed, passed, unreadable, warned
from appliance.config import Config
from appliance.errors import ConfigurationError
from appliance.parts import open_valkey

_CHECK = "shared server"


def check_shared(config: Config) -> Iterator[Finding]:
    """Look at the server of `[shared]`, where there is one."""
    table = config.shared
    if table is None:
        return
    try:
        server = open_valkey(table)
    except ConfigurationError as exc:
        yield unreadable(_CHECK, exc)
        return
    try:
        eviction, persistence = asyncio.run(_ask(server))
    except ValkeyUnavailable as exc:
        said = f"does not answer: {exc}"
        yield failed(_CHECK, table.address, said, "start it, or correct [shared]")
        return
    if eviction != "noeviction":
        said = f"maxmemory-policy is `{eviction or 'not to be seen'}`: it may forget vectors, so none is accepted that may come once only"
        step = "CONFIG SET maxmemory-policy noeviction, and the same in its file; the user of [shared] needs INFO"
        yield failed(_CHECK, table.address, said, step)
    if persistence.get("aof_enabled") != "1":
        said = "keeps no append-only file: after its restart vectors that came may come again"
        yield warned(_CHECK, table.address, said, "set appendonly yes")
    elif eviction == "noeviction":
        yield passed(_CHECK, table.address, "answers, evicts nothing, and keeps what it is told")


async def _ask(server: Valkey) -> tuple[str, dict[str, str]]:
    try:
        return await server.eviction(), await server.info("persistence")
    finally:
        await server.aclose()
