"""Who runs what: whoever takes over a worker must not thereby hold the PIN and the token."""

from collections.abc import Iterator

from appliance.cli.checks.finding import Finding, failed, passed, warned
from appliance.config import Config
from appliance.errors import ConfigurationError
from appliance.ownership import check_worker, find_sharing

_REMEDY = "start as root, from a home that others can pass through to (chmod 711 the directories above it); docs/operations.md, Users"


def check_users(config: Config) -> Iterator[Finding]:
    """Compare the user of each token's lanes with that of the workers, and see that workers can become theirs."""
    try:
        check_worker(config)
    except ConfigurationError as exc:
        yield failed("user of workers", exc.file, f"expected {exc.expected}", "mend what it names")
    for token in config.tokens:
        check = f"user of token {token.name}"
        why = find_sharing(config, token)
        if why is None:
            yield passed(check, config.home.config_file, "lanes and workers are different users")
        else:
            yield warned(
                check,
                config.home.config_file,
                f"{why}: whoever takes over a worker can read the PIN and load the token",
                _REMEDY,
            )
