"""What the supervisor tells every worker of a token's lanes: one worker alone sees only what befalls its own frames."""

import msgspec

from hsm.wire import Refused


class TokenNews(msgspec.Struct, frozen=True):
    """Why no lane of a token could be opened, or one was ended; or that one has opened.

    Attributes:
        failure: why; None when a lane has opened.
    """

    token: str
    failure: Refused | None = None
