"""`python -m bench TOOL`: each tool is a module with `add_arguments(parser)` and `run(arguments) -> exit status`."""

import argparse
import sys
from typing import Final

from appliance.errors import ConfigurationError
from bench import (
    cache,
    ceiling,
    demo,
    faults,
    gateway,
    lanes,
    load,
    native,
    peers,
    report,
    soak,
    trace,
)
from hsm.errors import HsmError

_TOOLS: Final = {
    "ceiling": (ceiling, "raw PKCS#11 signatures per second, no appliance involved"),
    "lanes": (
        lanes,
        "the same through queue and lanes, RSA signatures verified before they count, ECDSA by sampling",
    ),
    "faults": (faults, "a service under load while its token fails at random; needs `make shim`"),
    "load": (load, "vectors per second through a running appliance"),
    "gateway": (gateway, "a SOAP message straight, through one appliance, and through two"),
    "native": (
        native,
        "the XML core beside lxml, python-xmlsec and signxml, on the same documents",
    ),
    "peers": (peers, "the same vector by signxml, python-xmlsec and OpenSAML"),
    "trace": (trace, "durable trace entries per second, and how long an answer waits for its own"),
    "cache": (cache, "a vector given out again, and one that comes twice: microseconds each"),
    "report": (report, "all of it in one run: JSON, a table, and a page with plots"),
    "soak": (soak, "an hour at 70 % of capacity while the token fails and keys are rotated"),
    "demo": (demo, "the tour that `make run` gives"),
}
_UNUSABLE: Final = 2
_UNAVAILABLE: Final = 3


def main() -> int:
    """Run one tool."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Load tools.")
    tools = parser.add_subparsers(dest="tool", required=True, metavar="TOOL")
    for name, (tool, purpose) in _TOOLS.items():
        tool.add_arguments(tools.add_parser(name, help=purpose, description=purpose))
    arguments = parser.parse_args()
    try:
        status: int = _TOOLS[arguments.tool][0].run(arguments)
    except ConfigurationError as exc:
        print(exc.detail, file=sys.stderr)
        return _UNUSABLE
    except HsmError as exc:
        print(exc, file=sys.stderr)
        return _UNAVAILABLE
    return status


if __name__ == "__main__":
    sys.exit(main())
