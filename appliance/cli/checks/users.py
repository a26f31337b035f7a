"""Who runs what: whoever takes over a worker must not thereby hold the PIN and the token."""

from collections.abc import Iterator

from appliance.cli.checks.finding import Finding, passed, warned
from appliance.config import Config, find_user


def check_users(config: Config) -> Iterator[Finding]:
    """Compare the user of each token's lanes with that of the workers."""
    for token in config.tokens:
        check = f"user of token {token.name}"
        lane = find_user(config, "user", token.user)
        worker = find_user(config, "user", config.api.user)
        if lane == worker:
            yield warned(
                check,
                config.home.config_file,
                "lanes and workers share a user: whoever takes over a worker can read the PIN and load the token",
                "start as root and name two accounts: `user` of the [[token]] and `user` of [api]",
            )
        else:
            yield passed(check, config.home.config_file, "lanes and workers are different users")
