"""The spool on disk, as constants: what the writer and the reader, which share no code, agree on.

A log is one directory. It holds `lock` (held by the writer with flock(2)) and segments, each named by the index of its first entry
in twenty decimal digits: `00000000000000000000.segment`. Integers are big-endian. A segment is a head, then frames:

    head    8 octets  MAGIC
            8 octets  index of the first entry
    frame   2 octets  mark: STARTS_COMMIT on the first entry of a commit, CONTINUES_COMMIT on the others
            2 octets  length of the entry, at least 1
           32 octets  RFC 6962 leaf hash of the entry: SHA-256(0x00 || entry)
            n octets  the entry, UTF-8 JSON

A commit is written whole and made durable before the next one begins. So a frame that is broken while a later commit has begun was
damaged after it was durable; a broken frame with no later commit is the torn tail of a commit nobody was told about.
Only the last segment can have a torn tail: every other one ends where the next one's name says.
"""

from typing import Final

MAGIC: Final = b"VISPOOL\x01"
HEAD_OCTETS: Final = 16
FRAME_OCTETS: Final = 36
"""What a frame adds to its entry."""

STARTS_COMMIT: Final = b"\x80\x00"
CONTINUES_COMMIT: Final = b"\x00\x00"

SEGMENT_SUFFIX: Final = ".segment"
INDEX_DIGITS: Final = 20
LOCK_FILE: Final = "lock"
