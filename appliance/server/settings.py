"""The limits of the HTTP service (CONTRACT 4), with its defaults. Sizes in octets, times in seconds, counts of one process."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a peer may send, how slowly, and how many may do so at once.

    Attributes:
        body_limit: octets of a request body, whether announced or chunked.
        header_limit: octets of request line and header fields together.
        header_fields: header fields of one request.
        request_line_limit: octets of the request target.
        head_timeout: from the first octet (or the connection) to the end of the head.
        body_rate, body_grace: each `body_grace` seconds of reading must bring `body_rate` octets per second.
        keep_alive: how long a connection may idle between requests.
        write_timeout: how long a peer may take nothing of an answer.
        linger: how long a refused peer may still send before it is cut off; its octets are discarded.
        connections, connections_per_peer: open at the same time on each listener, in this process.
        pipeline: requests of one connection that may wait behind the one being answered.
        batch_limit: requests in one batch.
        drain_timeout: what requests in flight get to finish.
    """

    body_limit: int = 10 * 1024**2
    header_limit: int = 32 * 1024
    header_fields: int = 100
    request_line_limit: int = 8 * 1024
    head_timeout: float = 10.0
    body_rate: int = 1024
    body_grace: float = 5.0
    keep_alive: float = 75.0
    write_timeout: float = 30.0
    linger: float = 2.0
    connections: int = 1000
    connections_per_peer: int = 100
    pipeline: int = 100
    batch_limit: int = 1000
    drain_timeout: float = 10.0

    @property
    def pace_interval(self) -> float:
        """How often connections are looked at: a limit in time may be overrun by this much."""
        shortest = min(
            self.head_timeout, self.body_grace, self.keep_alive, self.write_timeout, self.linger
        )
        return min(0.5, shortest / 4)
