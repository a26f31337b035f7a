"""What `appliance trace verify --home` says at its end: per key, what lanes signed and what the trace accounts for.

A surplus, and a count that stepped back, is no fault of the log, and yet ends the command with 1: a person has to look, and whoever has
only the exit code must not miss it. Signatures lost from the counts are a warning: a supervisor that is killed leaves some.
"""

from appliance.cli.output import Colour, Output, printable
from appliance.trace.accounts import KeyAccount, read_accounts
from appliance.trace.view import LogPlace


def show_accounts(output: Output, place: LogPlace, on_the_way: float) -> bool:
    """Print a line per key, and one more for each period and statement that needs an explanation; tell whether every count holds.

    Raises:
        LogDamaged: a log cannot be read.
    """
    accounts = read_accounts(place, on_the_way)
    for account in accounts:
        output.show(_facts(account), "\n".join(_lines(output, account)))
    if any(account.unaccounted for account in accounts):
        output.say(
            "Among signatures not accounted for are those whose vector never left: refused after it was signed, caller or worker gone, "
            "tried twice by a lane that did not answer, or dated by a clock that was set back (docs/operations.md, Signatures nobody asked for)."
        )
    return all(map(_holds, accounts))


def _holds(account: KeyAccount) -> bool:
    return not (account.unaccounted or account.steps_back)


def _facts(account: KeyAccount) -> dict[str, object]:
    return {
        "signing_key": account.signing_key,
        "ok": _holds(account),
        "since": account.since,
        "until": account.until,
        "signatures": account.signatures,
        "created": account.created,
        "unaccounted": account.unaccounted,
        "periods": account.periods,
        "losses": account.losses,
        "steps_back": account.steps_back,
    }


def _lines(output: Output, account: KeyAccount) -> list[str]:
    label = output.paint(Colour.BAD, "wrong")
    if _holds(account):
        label = output.paint(
            *((Colour.WARN, "warn ") if account.losses else (Colour.GOOD, "ok   "))
        )
    key = printable(account.signing_key)
    span = f"from {account.since} to {account.until}"
    counts = f"{account.created} vectors created, {account.unaccounted} not accounted for"
    signed = f"{account.signatures} signatures by the lanes' count {span}, {counts}"
    lines = [f"{label}  key {key}: {signed}"]
    lines += [
        f"       key {key}: {period.unaccounted} signatures between {period.since} and {period.until} "
        "are neither a proof nor a vector in the trace"
        for period in account.periods
    ]
    lines += [
        f"       key {key}: {loss.vectors} vectors state signatures that no count holds: "
        f"counts were lost between {loss.since} and {loss.until}"
        for loss in account.losses
    ]
    lines += [
        f"       key {key} in {printable(step.component)}: its count stepped back from {step.before} to {step.after} at {step.time}; "
        "run/key-usage.json was lost or put back, so what was signed in between is not known"
        for step in account.steps_back
    ]
    return lines
