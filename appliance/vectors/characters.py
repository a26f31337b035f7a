"""Which text a vector can carry, and how much of a received text is repeated."""

import re
from typing import Final

# XML 1.0, production 2 (Char); what it leaves out cannot be written at all, not even escaped.
_NOT_XML: Final = re.compile(r"[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
_REPEATED: Final = 256


def is_xml_text(text: str) -> bool:
    """Tell whether XML 1.0 can carry every character."""
    return _NOT_XML.search(text) is None


def is_stated(text: str) -> bool:
    """Tell whether a text survives the trimming of XML white space as it is: not empty, no white space at its ends."""
    return bool(text) and text == text.strip(" \t\r\n") and is_xml_text(text)


def shorten(text: str) -> str:
    """Cut a text received to what an error may repeat."""
    return text if len(text) <= _REPEATED else f"{text[:_REPEATED]}…"
