"""What the appliance does: load over HTTP, by as many connections as stay busy or at a rate that does not wait for answers.

`scenario` says what is asked, `phases` when, `client` speaks HTTP, `driver` is one client process, `measure` runs several and adds
them up, `result` states the outcome, `command` is `python -m bench load`.
"""

from bench.load.command import add_arguments, run
from bench.load.measure import run_load, run_phases
from bench.load.result import LoadResult

__all__ = ["LoadResult", "add_arguments", "run", "run_load", "run_phases"]
