"""A lane: one process, one session, one thread, signing digests for the peers it is told to serve.

Owns the process: `python -m hsm.lane`, settings as one line of JSON on standard input, reports as lines of JSON on standard output.
Promises to listen only after every key is proven, to say between two frames that it is alive when its parent asks, to answer the
frame in hand before it ends on SIGTERM, to end when standard input does, because its parent is gone, and never to fork. Ends with
status 3 when it cannot open, 4 when its session is lost, and by SIGALRM when the
module hangs: the cure for each is a new lane.
"""

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec

from hsm.checkpoints import CheckpointSigner
from hsm.child import FAILED
from hsm.counters import LaneCounters
from hsm.deadline import call_deadline
from hsm.errors import Finding, HsmError
from hsm.opened import OpenToken
from hsm.report import LaneAlive, LaneEnded, LaneFailed, LaneReady, LaneReport
from hsm.serve import FrameServer
from hsm.session import close_session
from hsm.settings import LaneSettings
from hsm.signer import FrameSigner

SESSION_LOST: Final = 4
"""Exit status of a lane whose session no longer works."""

_STDIN: Final = 0
_BACKLOG: Final = 16


def main() -> int:
    """Run the lane; returns its exit status."""
    signal.signal(
        signal.SIGALRM, signal.SIG_DFL
    )  # the call deadline ends the process, whatever the parent ignored
    forbid_fork()
    settings = _read_settings()
    token = OpenToken(settings)
    try:
        token.open()
    except HsmError as error:
        _report(LaneFailed(error.target, error.finding))
        return FAILED
    signer = FrameSigner(token, settings.call_timeout)
    signer.keep_counts = LaneCounters.inherited(settings.counters, [*token.keys]).write
    listener = _listen(settings)
    inode = Path(settings.socket).stat().st_ino
    checkpoints = CheckpointSigner(
        token,
        Path(settings.token.state_directory) / "checkpoints",
        settings.call_timeout,
        signer.note,
    )
    server = FrameServer(
        listener,
        signer=signer,
        checkpoints=checkpoints,
        serial=token.serial,
        uids=settings.allowed_uids,
        checkpoint_uids=settings.checkpoint_uids,
    )
    stop_signal = _StopSignal(server)
    _watch_parent(server)
    signer.keep_all_counts()
    _report(LaneReady(token.serial, signer.facts(), os.getpid()))
    server.run()
    stop_signal.disarm()
    _report(LaneEnded(signer.counts(), _finding_of(signer.broken), signer.proofs()))
    return _close(settings, signer, inode)


def forbid_fork() -> None:
    """End the process rather than fork it: a child would share session, login and locks of the module (PKCS#11 2.40, 6.7.1)."""
    os.register_at_fork(before=os.abort)


def _read_settings() -> LaneSettings:
    """Read up to the first newline and no further: what follows is only ever the end of the parent."""
    line = bytearray()
    while not line.endswith(b"\n"):
        octets = os.read(_STDIN, 1)
        if not octets:
            sys.exit("hsm.lane: wants its settings as one line of JSON on standard input")
        line += octets
    return msgspec.json.decode(bytes(line), type=LaneSettings)


def _listen(settings: LaneSettings) -> socket.socket:
    path = Path(settings.socket)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    is_shared = set(settings.allowed_uids) != {os.geteuid()}
    mask = os.umask(0o000 if is_shared else 0o177)
    try:
        listener.bind(settings.socket)
    finally:
        os.umask(mask)
    listener.listen(_BACKLOG)
    return listener


class _StopSignal:
    """SIGTERM, turned into something the loop can wait for; keeps both ends of its pipe for the life of the process."""

    def __init__(self, server: FrameServer) -> None:
        self._server: Final = server
        self._wake, self._woken = socket.socketpair()
        for end in (self._wake, self._woken):
            end.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        signal.set_wakeup_fd(self._wake.fileno())
        signal.signal(signal.SIGTERM, self._on_signal)
        server.watch(self._woken.fileno(), self._on_woken)

    def disarm(self) -> None:
        """Ignore SIGTERM from here on: the lane is ending."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._server.stop()

    def _on_woken(self) -> None:
        self._woken.recv(1024)


def _watch_parent(server: FrameServer) -> None:
    """Stop when standard input ends; answer what else comes there, which is how the parent knows that the loop turns."""

    def hear() -> None:
        if os.read(_STDIN, 1024):
            _report(LaneAlive())
        else:
            server.stop()

    server.watch(_STDIN, hear)


def _finding_of(broken: HsmError | None) -> Finding | None:
    return None if broken is None else broken.finding


def _close(settings: LaneSettings, signer: FrameSigner, inode: int) -> int:
    if signer.broken is not None:
        return SESSION_LOST
    with contextlib.suppress(FileNotFoundError):
        # A lane that takes this one's place listens there already.
        if Path(settings.socket).stat().st_ino == inode:
            Path(settings.socket).unlink()
    with call_deadline(settings.call_timeout):
        close_session(settings.token)
    return 0


def _report(report: LaneReport) -> None:
    """Say it to the parent, if there is one still."""
    with contextlib.suppress(BrokenPipeError):
        _write(report)


def _write(report: LaneReport) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    # All is said and written, and closed where that is possible. Taking down interpreter and module, which a module in trouble can draw
    # out for half a second, would only keep the parent from replacing the lane.
    os._exit(main())
