"""The one table that turns every python-pkcs11 exception into a finding: CKR name, kind, likely cause, next step.

Owns the classes of failure; what each kind leads to is the business of lanes and queue.
"""

from typing import Final

import pkcs11
from pkcs11 import exceptions as pk

from hsm.errors import Finding, HsmError, Kind, Target


def translate(error: pkcs11.PKCS11Error, target: Target) -> HsmError:
    """Name a python-pkcs11 exception; unknown ones count as trouble of the device and keep their text."""
    code, kind = _CODES.get(type(error), ("", "device"))
    if not code:
        code = _read_code(str(error))
    cause, next_step = _WORDS.get(code) or _WORDS_OF_KIND[kind]
    return HsmError(target, Finding(code, kind, cause, next_step))


def _read_code(text: str) -> str:
    """Find the CKR in the text of an exception that python-pkcs11 gives no class of its own."""
    for part, code in _TEXTS.items():
        if part in text:
            return code
    return text.rpartition("Unmapped error code ")[2] or "CKR_GENERAL_ERROR"


_TEXTS: Final = {
    "while loading": "MODULE_NOT_LOADED",
    "already initialized": "CKR_CRYPTOKI_ALREADY_INITIALIZED",
    "not initialized": "CKR_CRYPTOKI_NOT_INITIALIZED",
    "Buffer was too small": "CKR_BUFFER_TOO_SMALL",
    "Parallel not supported": "CKR_SESSION_PARALLEL_NOT_SUPPORTED",
    "User type invalid": "CKR_USER_TYPE_INVALID",
}

_CODES: Final[dict[type[pkcs11.PKCS11Error], tuple[str, Kind]]] = {
    pk.ArgumentsBad: ("CKR_ARGUMENTS_BAD", "request"),
    pk.AttributeReadOnly: ("CKR_ATTRIBUTE_READ_ONLY", "request"),
    pk.AttributeSensitive: ("CKR_ATTRIBUTE_SENSITIVE", "request"),
    pk.AttributeTypeInvalid: ("CKR_ATTRIBUTE_TYPE_INVALID", "request"),
    pk.AttributeValueInvalid: ("CKR_ATTRIBUTE_VALUE_INVALID", "request"),
    pk.DataInvalid: ("CKR_DATA_INVALID", "request"),
    pk.DataLenRange: ("CKR_DATA_LEN_RANGE", "request"),
    pk.DomainParamsInvalid: ("CKR_DOMAIN_PARAMS_INVALID", "request"),
    pk.FunctionNotSupported: ("CKR_FUNCTION_NOT_SUPPORTED", "request"),
    pk.KeySizeRange: ("CKR_KEY_SIZE_RANGE", "request"),
    pk.KeyTypeInconsistent: ("CKR_KEY_TYPE_INCONSISTENT", "request"),
    pk.MechanismInvalid: ("CKR_MECHANISM_INVALID", "request"),
    pk.MechanismParamInvalid: ("CKR_MECHANISM_PARAM_INVALID", "request"),
    pk.TemplateIncomplete: ("CKR_TEMPLATE_INCOMPLETE", "request"),
    pk.TemplateInconsistent: ("CKR_TEMPLATE_INCONSISTENT", "request"),
    pk.OperationActive: ("CKR_OPERATION_ACTIVE", "session"),
    pk.OperationNotInitialized: ("CKR_OPERATION_NOT_INITIALIZED", "session"),
    pk.SessionClosed: ("CKR_SESSION_CLOSED", "session"),
    pk.SessionHandleInvalid: ("CKR_SESSION_HANDLE_INVALID", "session"),
    pk.FunctionCancelled: ("CKR_FUNCTION_CANCELED", "session"),
    pk.KeyHandleInvalid: ("CKR_KEY_HANDLE_INVALID", "object"),
    pk.ObjectHandleInvalid: ("CKR_OBJECT_HANDLE_INVALID", "object"),
    pk.UserNotLoggedIn: ("CKR_USER_NOT_LOGGED_IN", "login"),
    pk.UserAlreadyLoggedIn: ("CKR_USER_ALREADY_LOGGED_IN", "login"),
    pk.AnotherUserAlreadyLoggedIn: ("CKR_USER_ANOTHER_ALREADY_LOGGED_IN", "login"),
    pk.UserTooManyTypes: ("CKR_USER_TOO_MANY_TYPES", "login"),
    pk.DeviceError: ("CKR_DEVICE_ERROR", "device"),
    pk.DeviceRemoved: ("CKR_DEVICE_REMOVED", "device"),
    pk.FunctionFailed: ("CKR_FUNCTION_FAILED", "device"),
    pk.GeneralError: ("CKR_GENERAL_ERROR", "device"),
    pk.SlotIDInvalid: ("CKR_SLOT_ID_INVALID", "device"),
    pk.TokenNotPresent: ("CKR_TOKEN_NOT_PRESENT", "device"),
    pk.TokenNotRecognised: ("CKR_TOKEN_NOT_RECOGNIZED", "device"),
    pk.NoSuchToken: ("TOKEN_NOT_FOUND", "device"),
    pk.DeviceMemory: ("CKR_DEVICE_MEMORY", "capacity"),
    pk.FunctionRejected: ("CKR_FUNCTION_REJECTED", "capacity"),
    pk.HostMemory: ("CKR_HOST_MEMORY", "capacity"),
    pk.SessionCount: ("CKR_SESSION_COUNT", "capacity"),
    pk.MultipleTokensReturned: ("TOKEN_NOT_UNIQUE", "human"),
    pk.NoSuchKey: ("KEY_NOT_FOUND", "human"),
    pk.MultipleObjectsReturned: ("KEY_NOT_UNIQUE", "human"),
    pk.PinExpired: ("CKR_PIN_EXPIRED", "human"),
    pk.PinIncorrect: ("CKR_PIN_INCORRECT", "human"),
    pk.PinInvalid: ("CKR_PIN_INVALID", "human"),
    pk.PinLenRange: ("CKR_PIN_LEN_RANGE", "human"),
    pk.PinLocked: ("CKR_PIN_LOCKED", "human"),
    pk.PinTooWeak: ("CKR_PIN_TOO_WEAK", "human"),
    pk.TokenWriteProtected: ("CKR_TOKEN_WRITE_PROTECTED", "human"),
    pk.UserPinNotInitialized: ("CKR_USER_PIN_NOT_INITIALIZED", "human"),
}

_RESUME: Final = "correct the PIN source, or run `appliance hsm resume`"

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "MODULE_NOT_LOADED": (
        "the PKCS#11 library cannot be loaded",
        "check the path, its permissions and that the vendor's client is installed",
    ),
    "TOKEN_NOT_FOUND": (
        "no slot holds a token of this label",
        "compare the label with `appliance hsm list` and check the module's own configuration",
    ),
    "TOKEN_NOT_UNIQUE": ("several tokens have this label", "give each token a label of its own"),
    "KEY_NOT_FOUND": (
        "the token holds no private key with this CKA_ID and label",
        "compare `id` and `label` of the [[key]] with `appliance hsm list`",
    ),
    "KEY_NOT_UNIQUE": (
        "several private keys have this CKA_ID and label",
        "give the key an id of its own",
    ),
    "CKR_PIN_INCORRECT": ("the token refused the PIN; it will not be tried again", _RESUME),
    "CKR_PIN_INVALID": ("the PIN holds characters the token does not take", _RESUME),
    "CKR_PIN_LEN_RANGE": ("the PIN is shorter or longer than the token takes", _RESUME),
    "CKR_PIN_EXPIRED": ("the PIN must be changed first", f"change it at the token, then {_RESUME}"),
    "CKR_PIN_LOCKED": (
        "too many wrong PINs have locked the token",
        "unlock it as its security officer, then run `appliance hsm resume`",
    ),
    "CKR_USER_PIN_NOT_INITIALIZED": (
        "the token has no user PIN yet",
        "initialise it as security officer, then run `appliance hsm resume`",
    ),
    "CKR_MECHANISM_INVALID": (
        "the token does not offer the mechanism",
        "choose a key type and algorithm the token announces",
    ),
    "CKR_SESSION_COUNT": (
        "the token has no session left",
        "lower `lanes`, or close sessions held by other programs",
    ),
}

_WORDS_OF_KIND: Final[dict[Kind, tuple[str, str]]] = {
    "request": ("the token refuses what it was asked", "check that key and algorithm fit the token"),
    "session": ("the session was lost", "the lane is replaced; nothing to do unless it repeats"),
    "object": ("the key handle is no longer valid", "the lane is replaced; check the key if it repeats"),
    "login": ("the login was lost", "the lane is replaced; nothing to do unless it repeats"),
    "device": ("the token or its driver is in trouble", "check the device, its cable or network, and its logs"),
    "capacity": ("the token is out of resources", "lower the load or the number of lanes"),
    "human": ("the token waits for a person", "ask its security officer"),
}  # fmt: skip
