"""Operations that a route takes without a vector: which messages are of one, and of nothing else.

Promises that a message is open only where everything in it that could choose an operation at the application says the same: the one
element in its Body, SOAPAction, `action` of Content-Type, and `wsa:Action`. A message with a vector, or with any other header block
than those of WS-Addressing, is never open; it is judged as any.
"""

from typing import Final
from urllib.parse import urlsplit

from appliance.gateway.checks import read_operation
from appliance.gateway.messages import InlineMessage
from appliance.gateway.tables import InboundRouteTable

_NOBODY: Final = frozenset(
    {
        "http://www.w3.org/2005/08/addressing/anonymous",
        "http://www.w3.org/2005/08/addressing/none",
    }
)
"""Addresses of WS-Addressing that make nobody send anything anywhere but back."""


class OpenOperations:
    """Those of one route."""

    def __init__(self, table: InboundRouteTable) -> None:
        self._path: Final = table.path
        self._actions: Final = {
            read_operation(name): action for name, action in table.open_operations.items()
        }

    def __repr__(self) -> str:
        return f"OpenOperations({list(self._actions)})"

    def take(self, message: InlineMessage, stated: str | None) -> bool:
        """Tell whether a message is of one of them, and nothing in it, nor the action that its head states, could be read as another."""
        action = None if message.operation is None else self._actions.get(message.operation)
        if action is None or not message.is_alone or not message.soap.is_bare:
            return False
        properties = message.soap.addressing
        if properties is None or len(dict(properties)) != len(properties):
            return False
        return stated in {None, "", action} and all(
            self._fits(name, text, action) for name, text in properties
        )

    def _fits(self, name: str, text: str, action: str) -> bool:
        """Tell whether a property of WS-Addressing says nothing else than the message does already."""
        match name:
            case "MessageID":
                return True
            case "Action":
                return text == action
            case "ReplyTo":
                return text in _NOBODY
            case "To":
                return text in _NOBODY or self._is_here(text)
            case _:
                return False

    def _is_here(self, address: str) -> bool:
        try:
            url = urlsplit(address)
        except ValueError:
            return False
        return url.path == self._path and not url.query and not url.fragment
