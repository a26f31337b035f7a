"""libxml2's own reader and canonicalizer, called as libxmlsec calls them: through the shared library, not through lxml.

lxml puts a serializer of its own before libxml2's and lets through what libxml2 reports; here every error of the reader counts,
namespace errors too. The library is the one `xmlsec1` brings with it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import (
    CDLL,
    CFUNCTYPE,
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_int,
    c_void_p,
    cast,
    string_at,
)
from ctypes.util import find_library
from dataclasses import dataclass
from functools import cache
from typing import Final

C14N_10: Final = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
C14N_11: Final = "http://www.w3.org/2006/12/xml-c14n11"
C14N_EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
ALGORITHMS: Final = {
    C14N_10: (0, False),
    f"{C14N_10}#WithComments": (0, True),
    C14N_EXCLUSIVE: (1, False),
    f"{C14N_EXCLUSIVE}WithComments": (1, True),
    C14N_11: (2, False),
    f"{C14N_11}#WithComments": (2, True),
}
"""URI → libxml2's mode and whether comments stay."""

_OPTIONS: Final = 1 << 1 | 1 << 11
"""Replace references, as libxmlsec has it (else `&amp;` in a namespace stays `&#38;`); no network."""
_ERROR: Final = 2


class Refused(Exception):
    """libxml2 does not read the document, or has no canonical form of it."""


class _Error(Structure):
    _fields_ = (("domain", c_int), ("code", c_int), ("message", c_char_p), ("level", c_int))


class _NodeSetObject(Structure):
    _fields_ = (("type", c_int), ("nodes", c_void_p))


_ErrorHandler = CFUNCTYPE(None, c_void_p, POINTER(_Error))


@dataclass
class Document:
    """A document that libxml2 read."""

    library: CDLL
    pointer: int

    def canonicalize(
        self, algorithm: str, prefixes: Sequence[str] = (), element_id: str | None = None
    ) -> bytes:
        """Write the canonical form of the whole, or of the element whose attribute ID has this value.

        Raises:
            Refused: there is none.
        """
        mode, with_comments = ALGORITHMS[algorithm]
        listed = (c_char_p * (len(prefixes) + 1))(*(prefix.encode() for prefix in prefixes), None)
        output = c_void_p()
        with self._nodes(element_id) as nodes:
            length = self.library.xmlC14NDocDumpMemory(
                self.pointer, nodes, mode, listed, int(with_comments), byref(output)
            )
        try:
            if length < 0:
                raise Refused("; ".join(_errors) or "no canonical form")
            return string_at(output.value, length) if output.value is not None else b""
        finally:
            if output.value is not None:
                _free(self.library)(output.value)

    @contextmanager
    def _nodes(self, element_id: str | None) -> Iterator[int | None]:
        """The element with everything it holds, namespace nodes included, as XPath has them; None is the whole document."""
        if element_id is None:
            yield None
            return
        apex = f"//*[@ID='{element_id}']/descendant-or-self::"
        expression = f"{apex}node() | {apex}*/@* | {apex}*/namespace::*"
        context = self.library.xmlXPathNewContext(self.pointer)
        found = self.library.xmlXPathEvalExpression(expression.encode(), context)
        try:
            yield cast(found, POINTER(_NodeSetObject)).contents.nodes
        finally:
            self.library.xmlXPathFreeObject(found)
            self.library.xmlXPathFreeContext(context)


@contextmanager
def read(octets: bytes) -> Iterator[Document]:
    """Read a document for as long as the block runs.

    Raises:
        Refused: it is not well-formed, or not namespace-well-formed.
    """
    library = _library()
    _errors.clear()
    pointer = library.xmlReadMemory(octets, len(octets), None, None, _OPTIONS)
    try:
        if not pointer or _errors:
            raise Refused("; ".join(_errors) or "not read")
        yield Document(library, pointer)
    finally:
        if pointer:
            library.xmlFreeDoc(pointer)


def version() -> str:
    """The version of the library, as it states it."""
    return str(c_char_p.in_dll(_library(), "xmlParserVersion").value, "ascii")


_errors: list[str] = []
"""What libxml2 reported since the last document was begun."""


@_ErrorHandler
def _note(_context: int | None, error: "POINTER(_Error)") -> None:
    if error.contents.level >= _ERROR:
        _errors.append((error.contents.message or b"").decode(errors="replace").strip())


@cache
def _library() -> CDLL:
    name = find_library("xml2")
    assert name is not None, "the library that xmlsec1 is built on is missing"
    library = CDLL(name)
    library.xmlReadMemory.restype = c_void_p
    library.xmlReadMemory.argtypes = (c_char_p, c_int, c_char_p, c_char_p, c_int)
    library.xmlFreeDoc.argtypes = (c_void_p,)
    library.xmlC14NDocDumpMemory.argtypes = (
        *(c_void_p, c_void_p, c_int, POINTER(c_char_p), c_int, POINTER(c_void_p)),
    )
    library.xmlXPathNewContext.restype = c_void_p
    library.xmlXPathNewContext.argtypes = (c_void_p,)
    library.xmlXPathEvalExpression.restype = c_void_p
    library.xmlXPathEvalExpression.argtypes = (c_char_p, c_void_p)
    library.xmlXPathFreeObject.argtypes = (c_void_p,)
    library.xmlXPathFreeContext.argtypes = (c_void_p,)
    library.xmlSetStructuredErrorFunc.argtypes = (c_void_p, _ErrorHandler)
    library.xmlSetStructuredErrorFunc(None, _note)
    return library


@cache
def _free(library: CDLL) -> "CFUNCTYPE":
    """What frees memory that libxml2 handed over: a variable there, not a function."""
    return CFUNCTYPE(None, c_void_p)(c_void_p.in_dll(library, "xmlFree").value)
