"""Every metric of the appliance, in one place; one scrape covers all workers and the supervisor.

`appliance serve` starts itself with `PROMETHEUS_MULTIPROC_DIR` set (prometheus_client reads it when it is first imported): each process
then keeps its values in files there (`appliance.metricfiles`), and `exposition` adds the files up, whichever process answers. Without the
variable (command line, tests) the values live in this process. Labels come from configuration and closed lists, never from
what a peer sent. Hot paths bind their label children once (`SIGNATURES.labels(…)`) and keep them.
"""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Final

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from appliance.metricfiles import share_values, write_changed

share_values()

DIRECTORY_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_QUICK_SECONDS: Final = (
    0.0005,
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.0,
    5.0,
)
_COUNTS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

REQUESTS: Final = Counter(
    "appliance_requests", "Answers, by route and status.", ["route", "status"]
)
REQUEST_SECONDS: Final = Histogram(
    "appliance_request_seconds",
    "From the complete head to the answer handed to the socket.",
    ["route"],
    buckets=_QUICK_SECONDS,
)
ERRORS: Final = Counter("appliance_errors", "Refusals and failures, by reason.", ["reason"])
CONNECTIONS: Final = Gauge(
    "appliance_connections", "Open connections.", ["listener"], multiprocess_mode="livesum"
)
VECTORS: Final = Counter(
    "appliance_vectors",
    "Vectors asked for, by convention and outcome (created, reused, refused, failed).",
    ["convention", "outcome"],
)
VERIFICATIONS: Final = Counter(
    "appliance_verifications",
    "Verdicts, by convention (empty when none was found) and fault (empty when accepted).",
    ["convention", "fault"],
)
QUEUE_DEPTH: Final = Gauge(
    "appliance_signing_queue_jobs",
    "Signing jobs accepted and not yet answered.",
    ["token"],
    multiprocess_mode="livesum",
)
QUEUE_SECONDS: Final = Histogram(
    "appliance_signing_queue_seconds",
    "How long a signing job waited before it left for a lane: the oldest job of each frame and key.",
    ["lane", "key"],
    buckets=_QUICK_SECONDS,
)
SIGN_SECONDS: Final = Histogram(
    "appliance_signing_token_seconds",
    "Seconds inside the token for one signature: the mean of each frame and key.",
    ["lane", "key"],
    buckets=_QUICK_SECONDS,
)
TOKEN_SECONDS: Final = Counter(
    "appliance_token_seconds", "Time spent inside the token.", ["lane", "key"]
)
SIGNATURES: Final = Counter("appliance_signatures", "Signatures made.", ["lane", "key"])
LAST_SIGNATURE: Final = Gauge(
    "appliance_last_signature_time_seconds",
    "When the token last signed with the key, as a Unix time.",
    ["token", "key"],
    multiprocess_mode="max",
)
HSM_ERRORS: Final = Counter(
    "appliance_hsm_errors",
    "Jobs a lane could not sign, by class of failure (request, session, object, login, device, capacity, human, expired).",
    ["lane", "kind"],
)
CIRCUIT_OPEN: Final = Gauge(
    "appliance_circuit_open",
    "1 while jobs for the token are refused at once.",
    ["token"],
    multiprocess_mode="livemax",
)
LANES_UP: Final = Gauge(
    "appliance_lanes_up", "Lanes that can sign.", ["token"], multiprocess_mode="livemostrecent"
)
LANE_RESTARTS: Final = Counter("appliance_lane_restarts", "Lanes replaced.", ["lane"])
LANES_STUCK: Final = Counter(
    "appliance_lanes_stuck",
    "Lanes ended because a call into the module did not return, or because they did not answer.",
    ["lane"],
)
SESSIONS_OPEN: Final = Gauge(
    "appliance_hsm_sessions",
    "Sessions held open on the token.",
    ["token"],
    multiprocess_mode="livesum",
)
WORKER_RESTARTS: Final = Counter("appliance_worker_restarts", "Workers replaced.")
SPOOL_COMMIT_SECONDS: Final = Histogram(
    "appliance_spool_commit_seconds",
    "One group commit of the trace spool: write and fdatasync.",
    buckets=_QUICK_SECONDS,
)
SPOOL_COMMIT_ENTRIES: Final = Histogram(
    "appliance_spool_commit_entries", "Trace entries made durable by one commit.", buckets=_COUNTS
)
SPOOL_PENDING: Final = Gauge(
    "appliance_spool_pending_entries",
    "Trace entries accepted and not yet durable.",
    multiprocess_mode="livesum",
)
GATEWAY_MESSAGES: Final = Counter(
    "appliance_gateway_messages",
    "Messages in line, by direction, route and outcome (answered, or the reason they went no further).",
    ["direction", "route", "outcome"],
)
HANDSHAKES_REFUSED: Final = Counter(
    "appliance_handshakes_refused",
    "Connections closed because too many of their peer, or of all, were being opened.",
    ["listener"],
)
PARTNER_CONNECTIONS: Final = Gauge(
    "appliance_partner_connections",
    "Connections open to a partner, or to an application behind us.",
    ["partner"],
    multiprocess_mode="livesum",
)
PARTNER_FAILURES: Final = Counter(
    "appliance_partner_failures",
    "Exchanges and connections that the other end let fail, by reason.",
    ["partner", "reason"],
)
REPLAYS: Final = Counter(
    "appliance_replays", "Accepted vectors that had come before, by convention.", ["convention"]
)
CRL_SECONDS_LEFT: Final = Gauge(
    "appliance_crl_seconds_left",
    "Until the first next update among the newest CRLs of a directory; negative when it is past.",
    ["directory"],
    multiprocess_mode="livemin",
)
KEY_SIGNATURES: Final = Counter(
    "appliance_key_signatures",
    "Signatures made with a key by the lanes' own count, proofs included.",
    ["token", "key"],
)
GENERATION: Final = Gauge(
    "appliance_generation",
    "Which reading of the configuration is in service; a reload that was taken raises it.",
    multiprocess_mode="max",
)
CERTIFICATE_EXPIRY: Final = Gauge(
    "appliance_certificate_expiry_time_seconds",
    "When the certificate of a signing key ends, as a Unix time.",
    ["key"],
    multiprocess_mode="mostrecent",
)
TRACE_FREE: Final = Gauge(
    "appliance_trace_disk_free_ratio",
    "Share of the trace's file system that is free.",
    multiprocess_mode="livemostrecent",
)
CHECKPOINT_AGE: Final = Gauge(
    "appliance_trace_checkpoint_age_seconds",
    "How long the oldest durable entry has waited for a checkpoint that covers it; 0 when all are covered.",
    ["log"],
    multiprocess_mode="livemostrecent",
)
CHECKPOINT_SIZE: Final = Gauge(
    "appliance_trace_checkpoint_entries",
    "Entries the last checkpoint covers.",
    ["log"],
    multiprocess_mode="livemostrecent",
)
CHECKPOINTS: Final = Counter(
    "appliance_trace_checkpoints", "Checkpoints published, and delayed attempts.", ["outcome"]
)
BUILD: Final = Gauge(
    "appliance_build",
    "1; the labels say what runs.",
    ["version", "python"],
    multiprocess_mode="max",
)


def state_build() -> None:
    """Say in the exposition which version runs; each long-lived process calls it once."""
    BUILD.labels(version("interops-appliance"), platform.python_version()).set(1)


def exposition() -> bytes:
    """Write all values in the Prometheus text format; reads the files of every process when there are several."""
    directory = os.environ.get(DIRECTORY_VARIABLE)
    if directory is None:
        return generate_latest(REGISTRY)
    write_changed()
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=directory)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
    return generate_latest(registry)


def prepare_directory(directory: Path) -> None:
    """Make the directory, free of values under our process id; before a process with this id counts there."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for values in directory.glob(f"*_{os.getpid()}.db"):
        values.unlink()


def forget_earlier_run(directory: Path) -> None:
    """Drop the values of every process but this one; before this one starts others."""
    own = set(directory.glob(f"*_{os.getpid()}.db"))
    for values in directory.glob("*.db"):
        if values not in own:
            values.unlink()


def forget_process(pid: int) -> None:
    """Drop the gauges of a process that ended; what it counted stays."""
    directory = os.environ.get(DIRECTORY_VARIABLE)
    if directory is not None:
        mark_process_dead(pid, directory)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
