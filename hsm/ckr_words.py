"""What a code usually means and what to do about it, in words an operator can act on: per code, else per kind; `{token}` is its name."""

from typing import Final

from hsm.errors import Kind

_RESUME_COMMAND: Final = "`appliance hsm resume --token {token}`"
_RESUME: Final = f"correct the PIN source, or run {_RESUME_COMMAND}"

WORDS: Final[dict[str, tuple[str, str]]] = {
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
        f"unlock it as its security officer, then run {_RESUME_COMMAND}",
    ),
    "CKR_USER_PIN_NOT_INITIALIZED": (
        "the token has no user PIN yet",
        f"initialise it as security officer, then run {_RESUME_COMMAND}",
    ),
    "CKR_TOKEN_WRITE_PROTECTED": (
        "the token takes no new objects",
        "lift its write protection, or use another token",
    ),
    "CKR_MECHANISM_INVALID": (
        "the token does not offer the mechanism",
        "choose a key type and algorithm the token announces",
    ),
    "CKR_KEY_FUNCTION_NOT_PERMITTED": (
        "the key's attributes or the token's policy forbid this signature",
        'check CKA_SIGN and CKA_ALLOWED_MECHANISMS; a FIPS policy may want `mechanism = "rsa-hash-in-token"`',
    ),
    "CKR_SESSION_COUNT": (
        "the token has no session left",
        "lower `lanes`, or close sessions held by other programs",
    ),
    "CKR_CANT_LOCK": (
        "the module wants locks of its own and cannot have them",
        "ask its vendor for a module that can be used by one thread",
    ),
    "CKR_CRYPTOKI_ALREADY_INITIALIZED": (
        "something else in this process has initialised the module",
        "name the vendor's module itself, not a proxy that loads it as well",
    ),
}  # fmt: skip

WORDS_OF_KIND: Final[dict[Kind, tuple[str, str]]] = {
    "request": ("the token refuses what it was asked", "check that key and algorithm fit the token"),
    "session": ("the session was lost", "it is opened anew; nothing to do unless it repeats"),
    "object": ("the key handle is no longer valid", "the key is looked for again; check it if that repeats"),
    "login": ("the login was lost", "the lane logs in anew; nothing to do unless it repeats"),
    "device": ("the token or its driver is in trouble", "check the device, its cable or network, and its logs"),
    "capacity": ("the token is out of resources", "lower the load or the number of lanes"),
    "human": ("the token waits for a person", "ask its security officer"),
}  # fmt: skip
