"""`appliance serve`, and `appliance worker`, which it starts and people do not."""

import argparse
import os
import sys
from pathlib import Path

from appliance import metrics
from appliance.cli.output import Exit
from appliance.config import load_config
from appliance.log import configure_log


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `serve`."""
    serve = commands.add_parser(
        "serve",
        help="run the service",
        description=(
            "Run the service: lanes, workers, API. Prints one line when it listens, with what is missing if it is not ready; SIGTERM drains and ends, "
            "SIGHUP reloads the conventions. Example: appliance serve --home demo --api 127.0.0.1:8440"
        ),
    )
    serve.add_argument("--home", type=Path, required=True, help="the home to serve")
    serve.add_argument("--api", metavar="HOST:PORT", help="listen here instead of api.listen")
    serve.set_defaults(run=run_serve)


def build_worker_parser() -> argparse.ArgumentParser:
    """Build the parser of `appliance worker`, which is no command among the others, so that none of them offers it."""
    worker = argparse.ArgumentParser(prog="appliance worker")
    worker.add_argument("--home", type=Path, required=True)
    worker.add_argument("--index", type=int, required=True)
    worker.add_argument("--sockets", required=True)
    worker.set_defaults(run=run_worker)
    return worker


def run_serve(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM.

    prometheus_client decides at import whether values are shared between processes, so the variable that says where
    must be in the environment before this program starts: without it, the command starts itself again with it.
    """
    config = load_config(arguments.home)
    directory = config.home.metrics
    if os.environ.get(metrics.DIRECTORY_VARIABLE) != str(directory):
        metrics.prepare_directory(directory)
        environment = os.environ | {metrics.DIRECTORY_VARIABLE: str(directory)}
        os.execve(sys.executable, [sys.executable, "-m", "appliance", *sys.argv[1:]], environment)  # noqa: S606 - ourselves
    from appliance import supervisor  # noqa: PLC0415 - loads the server, which no other command needs

    configure_log(config.log_level)
    supervisor.run(config, arguments.api or config.api.listen)
    return Exit.DONE


def run_worker(arguments: argparse.Namespace) -> int:
    """Serve the API on inherited sockets, until stdin ends or SIGTERM."""
    from appliance import wiring  # noqa: PLC0415 - loads the server, which no other command needs

    descriptors = [int(number) for number in arguments.sockets.split(",")]
    wiring.run_worker(load_config(arguments.home), arguments.index, descriptors)
    return Exit.DONE
