"""A SOAP fault with the HTTP status that SOAP gives it (SOAP 1.1 section 6.2; SOAP 1.2 part 2, 7.5.2.2).

Promises that every text is escaped, and that a fault is of the version of the message it answers.
"""

from dataclasses import dataclass
from typing import Final, Literal
from xml.sax.saxutils import escape, quoteattr  # noqa: TID251 - escapes what is written; reads nothing

Version = Literal["1.1", "1.2"]
Blame = Literal["sender", "receiver"]

SOAP11: Final = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP12: Final = "http://www.w3.org/2003/05/soap-envelope"
CONTENT_TYPES: Final = {
    "1.1": b"text/xml; charset=utf-8",
    "1.2": b"application/soap+xml; charset=utf-8",
}

_DETAIL: Final = "urn:interops:appliance:fault"
_BLAMES: Final = {"sender": ("Client", "Sender"), "receiver": ("Server", "Receiver")}


@dataclass(frozen=True, slots=True)
class SoapFault:
    """What a caller is told.

    Attributes:
        blame: whose fault it is.
        text: one sentence.
        code: a QName with its usual prefix, where there is a finer one than SOAP's.
        namespace: what that prefix stands for.
        reason: our closed word for it, where the caller may know it.
        language: of the sentence.
    """

    blame: Blame
    text: str
    code: str | None = None
    namespace: str = ""
    reason: str | None = None
    language: Literal["en", "fr"] = "en"


def status_of(fault: SoapFault, version: Version) -> int:
    """Return the HTTP status: 500, but for what a SOAP 1.2 sender is to blame for."""
    return 400 if version == "1.2" and fault.blame == "sender" else 500


def write_fault(fault: SoapFault, version: Version) -> bytes:
    """Write the whole message."""
    write = _write11 if version == "1.1" else _write12
    return write(fault).encode("utf-8")


def _write11(fault: SoapFault) -> str:
    code = f"soap:{_BLAMES[fault.blame][0]}" if fault.code is None else fault.code
    return (
        f'<soap:Envelope xmlns:soap="{SOAP11}"><soap:Body><soap:Fault><faultcode{_declare(fault)}>{escape(code)}</faultcode>'
        f"<faultstring xml:lang={quoteattr(fault.language)}>{escape(fault.text)}</faultstring>{_detail(fault, 'detail')}"
        "</soap:Fault></soap:Body></soap:Envelope>"
    )


def _write12(fault: SoapFault) -> str:
    subcode = ""
    if fault.code is not None:
        value = f"<soap:Value{_declare(fault)}>{escape(fault.code)}</soap:Value>"
        subcode = f"<soap:Subcode>{value}</soap:Subcode>"
    return (
        f'<soap:Envelope xmlns:soap="{SOAP12}"><soap:Body><soap:Fault><soap:Code>'
        f"<soap:Value>soap:{_BLAMES[fault.blame][1]}</soap:Value>{subcode}</soap:Code>"
        f"<soap:Reason><soap:Text xml:lang={quoteattr(fault.language)}>{escape(fault.text)}</soap:Text></soap:Reason>"
        f"{_detail(fault, 'soap:Detail')}</soap:Fault></soap:Body></soap:Envelope>"
    )


def _declare(fault: SoapFault) -> str:
    if fault.code is None:
        return ""
    return f" xmlns:{fault.code.partition(':')[0]}={quoteattr(fault.namespace)}"


def _detail(fault: SoapFault, element: str) -> str:
    if fault.reason is None:
        return ""
    return f'<{element}><reason xmlns="{_DETAIL}">{escape(fault.reason)}</reason></{element}>'
