"""The one table that turns every answer of a module into a finding: CKR name, kind, likely cause, next step.

Owns the classes of failure (PKCS#11 2.40, 5.1 and the functions we call) and the code's name, whichever exception python-pkcs11 makes
of it. Promises that a code no table knows, a vendor's own among them, counts as trouble of the device.
"""

import re
from typing import Final

import pkcs11
from pkcs11 import exceptions as pk

from hsm.ckr_words import WORDS, WORDS_OF_KIND
from hsm.errors import Finding, HsmError, Kind, Target


def translate(error: pkcs11.PKCS11Error, target: Target) -> HsmError:
    """Name a python-pkcs11 exception."""
    return describe(_NAMES.get(type(error)) or _read_code(str(error)), target)


def describe(code: str, target: Target) -> HsmError:
    """Say what a code means, given by its name."""
    kind = KINDS.get(code, "device")
    cause, next_step = WORDS.get(code) or WORDS_OF_KIND[kind]
    return HsmError(target, Finding(code, kind, cause, next_step.replace("{token}", target.token)))


def _read_code(text: str) -> str:
    """Find the CKR in the text of an exception that python-pkcs11 gives no class of its own."""
    number = re.search(r"Unmapped error code 0x([0-9a-f]+)", text)
    if number is not None:
        value = int(number[1], 16)
        return _NUMBERS.get(value) or f"CKR_0x{value:08X}"
    for part, code in _TEXTS.items():
        if part in text:
            return code
    return "CKR_GENERAL_ERROR"


_CLASSES: Final[dict[Kind, str]] = {
    "request": """
        CKR_ACTION_PROHIBITED CKR_ARGUMENTS_BAD CKR_ATTRIBUTE_READ_ONLY CKR_ATTRIBUTE_SENSITIVE CKR_ATTRIBUTE_TYPE_INVALID
        CKR_ATTRIBUTE_VALUE_INVALID CKR_CURVE_NOT_SUPPORTED CKR_DATA_INVALID CKR_DATA_LEN_RANGE CKR_DOMAIN_PARAMS_INVALID
        CKR_FUNCTION_NOT_PARALLEL CKR_FUNCTION_NOT_SUPPORTED CKR_INFORMATION_SENSITIVE CKR_KEY_FUNCTION_NOT_PERMITTED
        CKR_KEY_SIZE_RANGE CKR_KEY_TYPE_INCONSISTENT CKR_MECHANISM_INVALID CKR_MECHANISM_PARAM_INVALID
        CKR_PUBLIC_KEY_INVALID CKR_TEMPLATE_INCOMPLETE CKR_TEMPLATE_INCONSISTENT CKR_USER_TYPE_INVALID""",
    "session": """
        CKR_BUFFER_TOO_SMALL CKR_CANCEL CKR_FUNCTION_CANCELED CKR_OPERATION_ACTIVE CKR_OPERATION_CANCEL_FAILED
        CKR_OPERATION_NOT_INITIALIZED CKR_SESSION_CLOSED CKR_SESSION_EXISTS CKR_SESSION_HANDLE_INVALID
        CKR_SESSION_PARALLEL_NOT_SUPPORTED CKR_SESSION_READ_ONLY CKR_SESSION_READ_ONLY_EXISTS
        CKR_SESSION_READ_WRITE_SO_EXISTS""",
    "object": "CKR_KEY_CHANGED CKR_KEY_HANDLE_INVALID CKR_KEY_NEEDED CKR_OBJECT_HANDLE_INVALID",
    "login": """
        CKR_USER_ALREADY_LOGGED_IN CKR_USER_ANOTHER_ALREADY_LOGGED_IN CKR_USER_NOT_LOGGED_IN CKR_USER_TOO_MANY_TYPES""",
    "device": """
        CKR_CANT_LOCK CKR_CRYPTOKI_ALREADY_INITIALIZED CKR_CRYPTOKI_NOT_INITIALIZED CKR_DEVICE_ERROR CKR_DEVICE_REMOVED
        CKR_FIPS_SELF_TEST_FAILED CKR_FUNCTION_FAILED CKR_GENERAL_ERROR CKR_LIBRARY_LOAD_FAILED CKR_MUTEX_BAD
        CKR_MUTEX_NOT_LOCKED CKR_NEED_TO_CREATE_THREADS CKR_SLOT_ID_INVALID CKR_TOKEN_NOT_PRESENT
        CKR_TOKEN_NOT_RECOGNIZED MODULE_NOT_LOADED TOKEN_NOT_FOUND""",
    "capacity": """
        CKR_DEVICE_MEMORY CKR_FUNCTION_REJECTED CKR_HOST_MEMORY CKR_SESSION_COUNT CKR_TOKEN_RESOURCE_EXCEEDED""",
    "human": """
        CKR_PIN_EXPIRED CKR_PIN_INCORRECT CKR_PIN_INVALID CKR_PIN_LEN_RANGE CKR_PIN_LOCKED CKR_PIN_TOO_WEAK
        CKR_TOKEN_WRITE_PROTECTED CKR_USER_PIN_NOT_INITIALIZED KEY_NOT_FOUND KEY_NOT_UNIQUE TOKEN_NOT_UNIQUE""",
}

KINDS: Final[dict[str, Kind]] = {
    code: kind for kind, codes in _CLASSES.items() for code in codes.split()
}
"""Code → who has to act; `hsm.errors.Kind` says what that leads to. Names without CKR are ours, for what the binding finds."""

UNSURE: Final = frozenset({"CKR_FUNCTION_FAILED", "CKR_GENERAL_ERROR"})
"""Modules give these for anything; the device is in trouble only when they come again in a session that was opened anew."""

_NUMBERS: Final = {
    0x00000001: "CKR_CANCEL",
    0x00000009: "CKR_NEED_TO_CREATE_THREADS",
    0x0000000A: "CKR_CANT_LOCK",
    0x0000001B: "CKR_ACTION_PROHIBITED",
    0x00000051: "CKR_FUNCTION_NOT_PARALLEL",
    0x00000065: "CKR_KEY_CHANGED",
    0x00000068: "CKR_KEY_FUNCTION_NOT_PERMITTED",
    0x00000140: "CKR_CURVE_NOT_SUPPORTED",
    0x00000170: "CKR_INFORMATION_SENSITIVE",
    0x000001A0: "CKR_MUTEX_BAD",
    0x000001A1: "CKR_MUTEX_NOT_LOCKED",
    0x000001A9: "CKR_FIPS_SELF_TEST_FAILED",
    0x000001AA: "CKR_LIBRARY_LOAD_FAILED",
    0x00000201: "CKR_TOKEN_RESOURCE_EXCEEDED",
    0x00000202: "CKR_OPERATION_CANCEL_FAILED",
}
"""The codes of our calls that python-pkcs11 leaves as numbers."""

_TEXTS: Final = {
    "while loading": "MODULE_NOT_LOADED",
    "already initialized": "CKR_CRYPTOKI_ALREADY_INITIALIZED",
    "not initialized": "CKR_CRYPTOKI_NOT_INITIALIZED",
    "Buffer was too small": "CKR_BUFFER_TOO_SMALL",
    "Parallel not supported": "CKR_SESSION_PARALLEL_NOT_SUPPORTED",
    "User type invalid": "CKR_USER_TYPE_INVALID",
}
"""The codes that python-pkcs11 puts into words."""

_NAMES: Final[dict[type[pkcs11.PKCS11Error], str]] = {
    pk.AnotherUserAlreadyLoggedIn: "CKR_USER_ANOTHER_ALREADY_LOGGED_IN",
    pk.ArgumentsBad: "CKR_ARGUMENTS_BAD",
    pk.AttributeReadOnly: "CKR_ATTRIBUTE_READ_ONLY",
    pk.AttributeSensitive: "CKR_ATTRIBUTE_SENSITIVE",
    pk.AttributeTypeInvalid: "CKR_ATTRIBUTE_TYPE_INVALID",
    pk.AttributeValueInvalid: "CKR_ATTRIBUTE_VALUE_INVALID",
    pk.DataInvalid: "CKR_DATA_INVALID",
    pk.DataLenRange: "CKR_DATA_LEN_RANGE",
    pk.DeviceError: "CKR_DEVICE_ERROR",
    pk.DeviceMemory: "CKR_DEVICE_MEMORY",
    pk.DeviceRemoved: "CKR_DEVICE_REMOVED",
    pk.DomainParamsInvalid: "CKR_DOMAIN_PARAMS_INVALID",
    pk.FunctionCancelled: "CKR_FUNCTION_CANCELED",
    pk.FunctionFailed: "CKR_FUNCTION_FAILED",
    pk.FunctionNotSupported: "CKR_FUNCTION_NOT_SUPPORTED",
    pk.FunctionRejected: "CKR_FUNCTION_REJECTED",
    pk.GeneralError: "CKR_GENERAL_ERROR",
    pk.HostMemory: "CKR_HOST_MEMORY",
    pk.KeyHandleInvalid: "CKR_KEY_HANDLE_INVALID",
    pk.KeyNeeded: "CKR_KEY_NEEDED",
    pk.KeySizeRange: "CKR_KEY_SIZE_RANGE",
    pk.KeyTypeInconsistent: "CKR_KEY_TYPE_INCONSISTENT",
    pk.MechanismInvalid: "CKR_MECHANISM_INVALID",
    pk.MechanismParamInvalid: "CKR_MECHANISM_PARAM_INVALID",
    pk.MultipleObjectsReturned: "KEY_NOT_UNIQUE",
    pk.MultipleTokensReturned: "TOKEN_NOT_UNIQUE",
    pk.NoSuchKey: "KEY_NOT_FOUND",
    pk.NoSuchToken: "TOKEN_NOT_FOUND",
    pk.ObjectHandleInvalid: "CKR_OBJECT_HANDLE_INVALID",
    pk.OperationActive: "CKR_OPERATION_ACTIVE",
    pk.OperationNotInitialized: "CKR_OPERATION_NOT_INITIALIZED",
    pk.PinExpired: "CKR_PIN_EXPIRED",
    pk.PinIncorrect: "CKR_PIN_INCORRECT",
    pk.PinInvalid: "CKR_PIN_INVALID",
    pk.PinLenRange: "CKR_PIN_LEN_RANGE",
    pk.PinLocked: "CKR_PIN_LOCKED",
    pk.PinTooWeak: "CKR_PIN_TOO_WEAK",
    pk.PublicKeyInvalid: "CKR_PUBLIC_KEY_INVALID",
    pk.SessionClosed: "CKR_SESSION_CLOSED",
    pk.SessionCount: "CKR_SESSION_COUNT",
    pk.SessionExists: "CKR_SESSION_EXISTS",
    pk.SessionHandleInvalid: "CKR_SESSION_HANDLE_INVALID",
    pk.SessionReadOnly: "CKR_SESSION_READ_ONLY",
    pk.SessionReadOnlyExists: "CKR_SESSION_READ_ONLY_EXISTS",
    pk.SessionReadWriteSOExists: "CKR_SESSION_READ_WRITE_SO_EXISTS",
    pk.SlotIDInvalid: "CKR_SLOT_ID_INVALID",
    pk.TemplateIncomplete: "CKR_TEMPLATE_INCOMPLETE",
    pk.TemplateInconsistent: "CKR_TEMPLATE_INCONSISTENT",
    pk.TokenNotPresent: "CKR_TOKEN_NOT_PRESENT",
    pk.TokenNotRecognised: "CKR_TOKEN_NOT_RECOGNIZED",
    pk.TokenWriteProtected: "CKR_TOKEN_WRITE_PROTECTED",
    pk.UserAlreadyLoggedIn: "CKR_USER_ALREADY_LOGGED_IN",
    pk.UserNotLoggedIn: "CKR_USER_NOT_LOGGED_IN",
    pk.UserPinNotInitialized: "CKR_USER_PIN_NOT_INITIALIZED",
    pk.UserTooManyTypes: "CKR_USER_TOO_MANY_TYPES",
}
