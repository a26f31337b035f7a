"""The socket side of a lane: accepts peers, reads their frames, has them signed one at a time, writes the answers.

Owns the loop of a lane's only thread. Promises that a peer is known by its uid before anything it sends is read, that peers take
turns frame by frame, that a peer which does not read its answers delays only itself, and that a lost session is mended between two
frames. Refuses by name, then closes.
"""

import contextlib
import os
import selectors
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from hsm.checkpoints import CheckpointSigner
from hsm.signer import FrameSigner
from hsm.wire import (
    JOB_LIMIT,
    CheckpointFrame,
    FrameReader,
    FrameTooLarge,
    Hello,
    Refused,
    Reply,
    Request,
    SignFrame,
    read_request,
    write_frame,
)

PEER_LIMIT: Final = 64
WINDOW_LIMIT: Final = 8
"""Frames one peer may have waiting; a `LaneClient` keeps two."""

_READ_OCTETS: Final = 64 * 1024
"""Hundreds of jobs; from 128 KiB on each buffer would be mapped and unmapped anew (mallopt(3), M_MMAP_THRESHOLD)."""

_LAST_WORDS: Final = 1.0
_READABLE: Final = selectors.EVENT_READ
_WRITABLE: Final = selectors.EVENT_WRITE


class _Peer:
    """One connection: frames waiting to be signed, and answer octets waiting to be taken.

    Attributes:
        may_sign: whether it may ask for more than checkpoints.
    """

    def __init__(self, channel: socket.socket) -> None:
        self.channel: Final = channel
        self.may_sign = False
        self.reader: Final = FrameReader()
        self.frames: Final[deque[Request]] = deque()
        self.unsent = b""


class FrameServer:
    """Serves frames until told to stop, or until the signer is broken."""

    def __init__(
        self,
        listener: socket.socket,
        *,
        signer: FrameSigner,
        checkpoints: CheckpointSigner,
        serial: str,
        uids: Iterable[int],
        checkpoint_uids: Iterable[int],
    ) -> None:
        self._listener: Final = listener
        self._signer: Final = signer
        self._checkpoints: Final = checkpoints
        self._serial: Final = serial
        self._uids: Final = frozenset(uids)
        self._checkpoint_uids: Final = frozenset(checkpoint_uids)
        self._selector: Final = selectors.DefaultSelector()
        self._peers: Final[dict[int, _Peer]] = {}
        self._is_stopping = False
        listener.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        self._selector.register(listener, _READABLE, self._accept)

    def watch(self, descriptor: int, when_readable: Callable[[], None]) -> None:
        """Call back from the loop whenever the descriptor is readable."""
        self._selector.register(descriptor, _READABLE, when_readable)

    def stop(self) -> None:
        """Leave the loop after the frame in hand."""
        self._is_stopping = True

    def run(self) -> None:
        """Serve; returns once stopped and after the answers already made have been offered to their peers."""
        while not self._is_stopping and self._signer.broken is None:
            for key, _ in self._selector.select(0 if self._waiting() else None):
                key.data()
            self._serve_round(self._waiting())
        self._dismiss()
        self._listener.close()
        self._selector.close()

    def _waiting(self) -> list[_Peer]:
        """The peers whose turn it is: each has a frame waiting, and has taken its last answer."""
        return [peer for peer in self._peers.values() if peer.frames and not peer.unsent]

    def _serve_round(self, waiting: Iterable[_Peer]) -> None:
        for peer in waiting:
            if self._is_stopping:
                return
            if peer.channel.fileno() in self._peers:
                self._serve(peer, peer.frames.popleft())
            if self._signer.must_mend:
                self._signer.mend()

    def _serve(self, peer: _Peer, request: Request) -> None:
        if isinstance(request, SignFrame):
            self._send(peer, self._signer.sign(request))
        elif isinstance(request, CheckpointFrame):
            self._send(peer, self._checkpoints.sign(request))
        else:
            self._signer.doubt()

    def _dismiss(self) -> None:
        """Let go of every peer, telling it why when it is the session that has ended."""
        broken = self._signer.broken
        for peer in list(self._peers.values()):
            if broken is not None and not peer.unsent:
                finding = broken.finding
                self._refuse(peer, Refused(finding.code, str(broken), finding.kind))
            else:
                self._part(peer)

    def _accept(self) -> None:
        try:
            channel, _ = self._listener.accept()
        except OSError:
            return  # the peer has gone again
        channel.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        peer = _Peer(channel)
        self._peers[channel.fileno()] = peer
        self._selector.register(channel, _READABLE, lambda: self._receive(peer))
        uid = read_peer_uid(channel)
        peer.may_sign = uid in self._uids
        if not peer.may_sign and uid not in self._checkpoint_uids:
            self._refuse(
                peer, Refused("PEER_NOT_ALLOWED", f"this lane does not sign for uid {uid}")
            )
        elif len(self._peers) > PEER_LIMIT:
            self._refuse(
                peer, Refused("TOO_MANY_PEERS", f"this lane takes {PEER_LIMIT} connections")
            )
        else:
            signer, audit = self._signer, self._checkpoints.facts()
            hello = Hello(self._serial, signer.facts(), os.getpid(), signer.call_timeout, audit)
            self._send(peer, hello)

    def _receive(self, peer: _Peer) -> None:
        try:
            octets = peer.channel.recv(_READ_OCTETS)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not octets:
            self._forget(peer)
            return
        try:
            for payload in peer.reader.feed(octets):
                peer.frames.append(read_request(payload))
        except FrameTooLarge as exc:
            self._refuse(peer, Refused("FRAME_TOO_LARGE", str(exc)))
        except msgspec.DecodeError:
            self._refuse(peer, Refused("FRAME_MALFORMED", "the frame is no request to sign"))
        else:
            self._check_window(peer)

    def _check_window(self, peer: _Peer) -> None:
        if len(peer.frames) > WINDOW_LIMIT:
            self._refuse(
                peer, Refused("TOO_MANY_FRAMES", f"at most {WINDOW_LIMIT} frames may wait")
            )
        elif not (peer.may_sign or all(isinstance(each, CheckpointFrame) for each in peer.frames)):
            why = "this lane signs checkpoints for this uid, and nothing else"
            self._refuse(peer, Refused("PEER_NOT_ALLOWED", why))
        elif any(
            isinstance(each, SignFrame) and len(each.jobs) > JOB_LIMIT for each in peer.frames
        ):
            self._refuse(peer, Refused("TOO_MANY_JOBS", f"a frame holds at most {JOB_LIMIT} jobs"))

    def _send(self, peer: _Peer, reply: Reply) -> None:
        octets = write_frame(reply)
        try:
            sent = peer.channel.send(octets)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._forget(peer)
            return
        if sent < len(octets):
            # Nothing more is read from this peer before it takes its answer: that bounds what it can make us hold.
            peer.unsent = octets[sent:]
            self._selector.modify(peer.channel, _WRITABLE, lambda: self._send_rest(peer))

    def _send_rest(self, peer: _Peer) -> None:
        try:
            sent = peer.channel.send(peer.unsent)
        except BlockingIOError:
            return
        except OSError:
            self._forget(peer)
            return
        peer.unsent = peer.unsent[sent:]
        if not peer.unsent:
            self._selector.modify(peer.channel, _READABLE, lambda: self._receive(peer))

    def _refuse(self, peer: _Peer, refused: Refused) -> None:
        peer.frames.clear()
        self._send(peer, refused)
        if peer.channel.fileno() in self._peers:
            self._part(peer)

    def _part(self, peer: _Peer) -> None:
        """Offer the peer what is left for it, for a second at most, and close."""
        if peer.unsent:
            with contextlib.suppress(OSError):  # it did not want it
                peer.channel.settimeout(_LAST_WORDS)
                peer.channel.sendall(peer.unsent)
        self._forget(peer)

    def _forget(self, peer: _Peer) -> None:
        del self._peers[peer.channel.fileno()]
        self._selector.unregister(peer.channel)
        peer.channel.close()


def read_peer_uid(channel: socket.socket) -> int:
    """Return the uid of the process at the other end, as the kernel knows it (unix(7), SO_PEERCRED)."""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(uid)
