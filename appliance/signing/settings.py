"""Parameters of the signing queue."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """The `[queue]` table of the configuration.

    Attributes:
        jobs: how many jobs may be accepted and unanswered at a time.
        age: seconds a job may wait before it leaves for a lane.
        batch_jobs: how many jobs one frame may hold at most.
        batch_age: seconds a job waits for company while every lane is busy.
    """

    jobs: int = 4096
    age: float = 2.0
    batch_jobs: int = 64
    batch_age: float = 0.001
