"""Clients of a service whose token fails: each asks for one vector at a time and judges every answer."""

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from bench.demo import libxmlsec_accepts
from bench.service import ServedHome

DEADLINE: Final = 5.0
"""Seconds within which a request must be answered: two call deadlines, the time lanes have to be replaced in, and three for a machine
that is busy."""

_PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """One answer that refuses, for a token that is not available.

    Attributes:
        cycle: the fault during which it was given: the one that has kept it waiting.
        seconds: how long it took.
        is_known: whether somebody had been refused in that cycle before it was asked for: the token was known to be out of reach.
    """

    cycle: int
    seconds: float
    is_known: bool


class Load:
    """Threads that ask for vectors, one at a time each, and judge every answer."""

    def __init__(self, served: ServedHome, home: Path, clients: int) -> None:
        self.vectors = 0
        self.wrong = 0
        self.refused: Final[Counter[str]] = Counter()
        self.lost: Final[Counter[str]] = Counter()
        self.refusals: Final[list[Refusal]] = []
        self._cycle = 0
        # instants (monotonic) of the request whose vector came last, and of the first refusal since it was last cleared
        self.asked_at = 0.0
        self.refused_at: float | None = None
        self._served: Final = served
        self._chain: Final = home / "pki" / "demo-rsa.pem"
        self._lock: Final = threading.Lock()
        self._stop: Final = threading.Event()
        self._threads: Final = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def begin(self, cycle: int) -> None:
        """Begin a cycle: wait for a first refusal anew."""
        with self._lock:
            self._cycle, self.refused_at = cycle, None

    def stop(self) -> None:
        """Let each thread have its answer."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_PATIENCE)

    def _ask(self) -> None:
        asked = {"convention": "demo-client", "subject": "agent-0042", "pagms": ["PAGM_GESTION"]}
        body = json.dumps(asked).encode()
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                status, answer = self._post(body)
            except (OSError, http.client.HTTPException, ValueError) as exc:
                self._lose(type(exc).__name__)
                continue
            took = time.monotonic() - begun
            if took > DEADLINE:
                self._lose(f"answered {status} late")
            elif status == http.HTTPStatus.OK:
                self._judge(begun, cast("str", answer["assertion"]).encode())
            else:
                reason = cast("dict[str, str]", answer["error"])["reason"]
                self._note_refusal(reason, begun, took)

    def _post(self, body: bytes) -> tuple[int, dict[str, object]]:
        connection = http.client.HTTPConnection(
            self._served.host, self._served.port, timeout=2 * DEADLINE
        )
        try:
            connection.request("POST", "/v1/vectors", body)
            answer = connection.getresponse()
            return answer.status, cast("dict[str, object]", json.loads(answer.read()))
        finally:
            connection.close()

    def _judge(self, begun: float, assertion: bytes) -> None:
        is_good = libxmlsec_accepts(assertion, self._chain)
        with self._lock:
            self.vectors += is_good
            self.wrong += not is_good
            if is_good:
                self.asked_at = max(self.asked_at, begun)

    def _note_refusal(self, reason: str, begun: float, took: float) -> None:
        with self._lock:
            self.refused[reason] += 1
            is_known = self.refused_at is not None and begun > self.refused_at
            self.refused_at = self.refused_at or time.monotonic()
            if reason in {"hsm-unavailable", "pin-refused"}:
                self.refusals.append(Refusal(self._cycle, took, is_known))

    def _lose(self, how: str) -> None:
        with self._lock:
            self.lost[how] += 1
