"""Asks the running service, through the unix socket of its home.

Promises that the answer comes within a deadline or is a named error, and tells `nobody serves this home` (None) from `the service
does not answer` (an error), because only the first lets the command line do the work itself.
"""

import contextlib
import http.client
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.errors import Reason, ServiceUnreachable

_TIMEOUT: Final = 15.0  # seconds, above what the service itself lets a request wait


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said."""

    status: int
    body: bytes


def ask_service(
    api_socket: Path, method: str, path: str, body: bytes | None = None
) -> Answer | None:
    """Send one request and return the answer, or None when nobody listens on the socket.

    Raises:
        ServiceUnreachable: somebody listens and does not answer in time, or not in HTTP.
    """
    headers = {"Content-Type": "application/json"} if body is not None else {}
    with contextlib.closing(_UnixConnection(api_socket)) as connection:
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read())
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except (OSError, http.client.HTTPException) as exc:
            raise ServiceUnreachable(
                Reason.SERVICE_UNREACHABLE,
                f"the service on {api_socket} does not answer ({exc!r}); look at its log, or stop it and try again",
            ) from exc


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket; `localhost` goes into Host, as a loopback caller would write it."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path: Final = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(str(self._path))
