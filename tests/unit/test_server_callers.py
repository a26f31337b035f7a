"""Where a peer is, as networks, counts and traces know it."""

import asyncio
import gc
import socket
import weakref
from ipaddress import ip_network

import pytest

from appliance.server.callers import CallerDirectory, Peer, plain_address, read_peer
from appliance.server.inline import LocalCallers
from appliance.server.listener import listen_tcp
from appliance.vectors.model import Caller


class Accepted(asyncio.Transport):
    """As much of a transport as the kernel is asked through."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__({"socket": connection})


def test_ipv4_peer_of_a_listener_of_both_families() -> None:
    """Who comes by IPv4 to `[::]` is known by the IPv4 address, so that `10.1.0.0/16` of a file means him too."""
    try:
        listener = listen_tcp("::", 0)
    except OSError as exc:
        pytest.skip(f"no IPv6 on this machine: {exc}")
    with listener, socket.create_connection(("127.0.0.1", listener.getsockname()[1]), 5):
        connection, _ = listener.accept()
        with connection:
            assert connection.getpeername()[0] == "::ffff:127.0.0.1"
            peer = read_peer(Accepted(connection))
    assert (peer.address, peer.is_loopback) == ("127.0.0.1", True)


@pytest.mark.parametrize("text", ["10.1.2.3", "::1", "fe80::1", "::ffff:0:102:304"])
def test_other_addresses_stay(text: str) -> None:
    """Only an address that stands for one of IPv4 is written as one."""
    assert plain_address(text) == text


def test_callers_that_a_reload_replaces_go_at_once() -> None:
    """Nothing they remember refers to them: a worker seldom looks for what only a collection of cycles would free."""
    callers = LocalCallers(CallerDirectory([], 0), {ip_network("10.0.0.0/8"): "claims"})
    peer = Peer("listener", frozenset(), "10.1.2.3", None, is_loopback=False)
    assert callers.recognise(peer, None).caller == Caller("claims", "address")
    replaced = weakref.ref(callers)
    gc.disable()
    try:
        del callers
        assert replaced() is None
    finally:
        gc.enable()
