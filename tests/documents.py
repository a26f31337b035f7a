"""Generated XML: documents rich in what canonicalization changes, and what is left of them after an accident.

Everything comes from one seed and a number, so that a failure names both and can be had again.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

PREFIXES: Final = ("a", "b", "c", "prefix-one", "prefix-two", "é")
"""Two of them agree in their first seven octets."""
URIS: Final = (
    "urn:a",
    "urn:b",
    "urn:c",
    "http://x.example/?q='r'",
    "urn:a#",
    "URN:A",
    "urn:&#x41;%C3%A9",
)
XML_ATTRIBUTES: Final = {
    "lang": ("fr", "en-GB", ""),
    "space": ("preserve", "default"),
    "base": (
        "http://a.example/b/c",
        "../d/e",
        "f",
        "g/",
        "/h",
        "?j",
        "./.././l/../m",
    ),
}
"""No `xml:base` that is empty or has a fragment: libxml2 drops the one and keeps the other, against Canonical XML 1.1, 2.4. None
with a scheme and no hierarchy either (`urn:i`): libxml2 2.9.14 and 2.14.6 join to it differently."""
_TEXTS: Final = (
    *(
        "text",
        " ",
        "\n",
        "\t",
        "\r\n",
        "\r",
        "\r\r\n",
        ">",
        "]] ",
        "'",
        '"',
        "é",
        "😀",
        "\u0085",
        "\u2028",
        "a:b",
    ),
    *(
        "&amp;",
        "&lt;",
        "&gt;",
        "&quot;",
        "&apos;",
        "&#13;",
        "&#xD;&#xA;",
        "&#9;",
        "&#10;",
        "&#x1F600;",
        "&#233;",
    ),
    *("\ufffd", "&#xFFFD;", "&#32;", "c:d", "prefix-one:x", "\x7f", "\u00a0"),
)
_COMMENTS: Final = ("", " c ", "a-b", "\r\n", "<x/>", "&amp;", "é😀", "\r")
_INSTRUCTIONS: Final = (
    "p",
    "p  data",
    "p a?b\r\n",
    "p\t\r\n é > ",
    "php ?",
    "xml-stylesheet href='x'",
    "p &amp;",
)
_SECTIONS: Final = ("", "<x>&amp;", "]]", "\r\n\r", "é😀", ">", "]")


@dataclass
class Generated:
    """A document, and the IDs that its elements have.

    Attributes:
        uris: the namespaces to declare.
    """

    chance: random.Random
    uris: tuple[str, ...] = URIS
    ids: list[str] = field(default_factory=list)

    def document(self) -> str:
        """Write one."""
        chance = self.chance
        declaration = chance.choice(
            ("", "", "<?xml version='1.0'?>\r\n", '<?xml version="1.0" encoding="UTF-8"?>')
        )
        before = "".join(self._around() for _ in range(chance.choice((0, 0, 1, 3))))
        after = "".join(self._around() for _ in range(chance.choice((0, 0, 1, 3))))
        return f"{declaration}{before}{self._element({}, 0)}{after}"

    def _around(self) -> str:
        return self._comment_or_instruction() + self.chance.choice(("", "\n", "\r\n "))

    def _comment_or_instruction(self) -> str:
        if self.chance.random() < 0.5:
            return f"<!--{self.chance.choice(_COMMENTS)}-->"
        return f"<?{self.chance.choice(_INSTRUCTIONS)}?>"

    def _element(self, scope: dict[str, str], depth: int) -> str:
        chance = self.chance
        declared = self._declarations(bool(scope.get("")))
        scope = scope | declared
        parts = [_write_declaration(prefix, uri) for prefix, uri in declared.items()]
        parts += self._attributes(scope)
        chance.shuffle(parts)
        name = self._name(scope, is_attribute=False)
        tag = "".join(
            f"{self._space()}{name_}{self._equals()}{self._quoted(value)}" for name_, value in parts
        )
        close = chance.choice(("", "", " ", "\r\n"))
        inside = self._content(scope, depth)
        if not inside and chance.random() < 0.5:
            return f"<{name}{tag}{close}/>"
        return f"<{name}{tag}{close}>{inside}</{name}{chance.choice(('', '', ' '))}>"

    def _declarations(self, has_default: bool) -> dict[str, str]:  # noqa: FBT001 - one caller, beside it
        """New bindings, redeclared ones, the same again, and `xmlns=""`, also where there is nothing to undeclare."""
        chance = self.chance
        declared = {}
        for prefix in chance.sample(PREFIXES, chance.choice((0, 0, 0, 1, 1, 2, 4))):
            declared[prefix] = chance.choice(self.uris)
        if chance.random() < (0.4 if has_default else 0.25):
            declared[""] = chance.choice(("", "", *self.uris[:3]))
        return declared

    def _attributes(self, scope: dict[str, str]) -> list[tuple[str, str]]:
        chance = self.chance
        found: dict[tuple[str, str], tuple[str, str]] = {}
        for _ in range(chance.choice((0, 0, 1, 2, 5))):
            name = self._name(scope, is_attribute=True)
            prefix, _, local = name.rpartition(":")
            found[scope[prefix] if prefix else "", local] = (name, self._value())
        for local, values in XML_ATTRIBUTES.items():
            if chance.random() < 0.12:
                found["xml", local] = (f"xml:{local}", chance.choice(values))
        if chance.random() < 0.4:
            self.ids.append(f"i{len(self.ids)}")
            found["", "ID"] = ("ID", self.ids[-1])
        return list(found.values())

    def _name(self, scope: dict[str, str], *, is_attribute: bool) -> str:
        prefixes = [prefix for prefix, uri in scope.items() if prefix and uri]
        local = self.chance.choice(("x", "y", "Z", "x-1", "é", "xmlns1"))
        if prefixes and self.chance.random() < (0.6 if is_attribute else 0.5):
            return f"{self.chance.choice(prefixes)}:{local}"
        return local

    def _value(self) -> str:
        return "".join(self.chance.choices(_TEXTS, k=self.chance.choice((0, 1, 1, 4))))

    def _quoted(self, value: str) -> str:
        if "'" in value or ('"' not in value and self.chance.random() < 0.7):
            return '"' + value.replace('"', "&quot;") + '"'
        return f"'{value}'"

    def _content(self, scope: dict[str, str], depth: int) -> str:
        chance = self.chance
        kinds: tuple[Callable[[], str], ...] = (
            self._value,
            self._comment_or_instruction,
            lambda: f"<![CDATA[{chance.choice(_SECTIONS)}]]>",
            *([lambda: self._records(scope, depth + 1)] * (3 if depth < 5 else 0)),
        )
        return "".join(chance.choice(kinds)() for _ in range(chance.choice((0, 1, 2, 2, 3))))

    def _records(self, scope: dict[str, str], depth: int) -> str:
        """An element, several times over where that repeats no ID: what a reader remembers of one serves the next."""
        known = len(self.ids)
        written = self._element(scope, depth)
        return written * (self.chance.choice((1, 1, 2, 3)) if len(self.ids) == known else 1)

    def _space(self) -> str:
        return self.chance.choice((" ", " ", " ", "  ", "\n", "\r\n\t"))

    def _equals(self) -> str:
        return self.chance.choice(("=", "=", "=", " = ", "\n="))


def _write_declaration(prefix: str, uri: str) -> tuple[str, str]:
    return (f"xmlns:{prefix}" if prefix else "xmlns"), uri


_CONFUSIONS: Final = (
    *(
        "<",
        ">",
        "&",
        "'",
        '"',
        "=",
        "/",
        "?",
        "!",
        "]]>",
        "--",
        "-->",
        "<!--",
        "<?",
        "?>",
        "<![CDATA[",
        "</",
        "/>",
    ),
    *(
        ":",
        "::",
        "a:",
        ":a",
        "xmlns",
        " xmlns=''",
        " xmlns:a=''",
        " xmlns:a='urn:b'",
        " a:x='' b:x=''",
        " xml:id='1'",
    ),
    *(
        "&#0;",
        "&#x;",
        "&#xD800;",
        "&#1114112;",
        "&#xFFFE;",
        "&unknown;",
        "&amp",
        "\x00",
        "\x01",
        "\ufffe",
        "\r",
        "-",
    ),
    *(
        "<?xml version='1.0'?>",
        "<?XML x?>",
        "<!DOCTYPE a>",
        "<!ELEMENT a ANY>",
        "<a/>",
        " xmlns:xml='urn:a'",
        "&#xD;",
    ),
    *(
        " xmlns:xmlns='urn:a'",
        " xmlns:a='http://www.w3.org/XML/1998/namespace'",
        " xmlns:a='%'",
        "\u00d7",
        "1",
        ".",
    ),
    *(
        " xmlns:b='http://www.w3.org/2000/xmlns/'",
        "encoding='UTF-16'",
        " standalone='maybe'",
        "version='2.0'",
        "\u0300",
    ),
)
"""Each is legal somewhere, and nearly nowhere else."""


def damage(octets: bytes, chance: random.Random) -> bytes:
    """Change a document in one to three places: flip, cut, copy, move, or put in what means something to XML."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        start = chance.randrange(len(octets) + 1)
        end = min(len(octets), start + chance.choice((1, 1, 2, 5, 20)))
        before, piece, after = octets[:start], octets[start:end], octets[end:]
        token = chance.choice(_CONFUSIONS).encode()
        octets = chance.choice(
            (
                before + bytes([chance.randrange(256)]) + after,
                before + after,
                before + piece + piece + after,
                before + after[: len(piece)] + piece + after[len(piece) :],
                before + token + piece + after,
                before + token + piece + after,
            )
        )
    return octets
