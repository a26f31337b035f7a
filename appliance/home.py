"""Where things lie in a home: the one directory that holds an appliance. Opens nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

CONFIG_FILE: Final = "appliance.toml"
CONVENTION_FILES: Final = "[!.]*.toml"
"""Which files of `conventions/` are one; what an editor keeps beside a file it has open begins with a dot."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where things lie in a home."""

    root: Path

    @property
    def config_file(self) -> Path:
        """The one file that makes a directory a home."""
        return self.root / CONFIG_FILE

    @property
    def conventions(self) -> Path:
        """One TOML file per convention."""
        return self.root / "conventions"

    @property
    def spool(self) -> Path:
        """One directory per log: what is not yet in the log's tree."""
        return self.root / "spool"

    @property
    def logs(self) -> Path:
        """One directory per log: C2SP tlog-tiles."""
        return self.root / "log"

    @property
    def index(self) -> Path:
        """The search index over the logs; may be deleted at any time."""
        return self.root / "index"

    @property
    def certificates(self) -> Path:
        """Certificates of the signers that traces speak of, by fingerprint."""
        return self.root / "certificates"

    @property
    def run(self) -> Path:
        """Sockets, locks and state that outlives a restart."""
        return self.root / "run"

    @property
    def api_socket(self) -> Path:
        """Where the command line finds the running service."""
        return self.run / "api.sock"

    @property
    def metrics(self) -> Path:
        """Where the processes of a running service keep their counts."""
        return self.run / "metrics"

    @property
    def messages(self) -> Path:
        """Where workers keep messages that are too long for memory, in files without a name."""
        return self.run / "messages"

    @property
    def replay_guard(self) -> Path:
        """The vectors that may not come twice; mapped by every worker."""
        return self.run / "replay.guard"

    @property
    def shared_vectors(self) -> Path:
        """The vectors that workers may give out again; mapped by every worker."""
        return self.run / "shared.vectors"

    @property
    def in_force(self) -> Path:
        """The conventions in force, for workers that begin later."""
        return self.run / "conventions.in-force"

    @property
    def key_usage(self) -> Path:
        """How often each key has signed."""
        return self.run / "key-usage.json"

    @property
    def serve_lock(self) -> Path:
        """Locked by the process that serves this home, whose id it holds."""
        return self.run / "serve.lock"

    def lane_socket(self, token: str, lane: int) -> Path:
        """Where workers find a lane."""
        return self.run / f"lane-{token}-{lane}.sock"
