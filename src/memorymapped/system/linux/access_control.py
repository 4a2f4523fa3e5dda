# SPDX-License-Identifier: MIT
"""Owner, group, mode bits and POSIX ACL of an open file.

An ACL is the mode with entries for further users and groups (acl(5)). The kernel keeps it in an extended attribute:
a version, then (tag, permissions, id) of each entry, sorted by tag and id. Where a file system has none (or was mounted
without), only the three entries that are the mode can be set.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

__all__ = ["AccessEntries", "read_access", "write_access"]

ATTRIBUTE = "system.posix_acl_access"
_VERSION = 2
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NOBODY = 0xFFFFFFFF
_HEAD, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")


class AccessEntries:
    """Permissions (4 read, 2 write, 1 execute) of the owner, the owning group, everybody else, and those named."""

    __slots__ = ("group", "groups", "other", "owner", "users")

    def __init__(self, owner: int, group: int, other: int, users: dict[int, int], groups: dict[int, int]) -> None:
        self.owner = owner
        self.group = group
        self.other = other
        self.users = users
        self.groups = groups

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccessEntries) and all(
            getattr(self, field) == getattr(other, field) for field in self.__slots__
        )

    __hash__ = None  # type: ignore[assignment]


def read_access(fd: int) -> tuple[int, int, AccessEntries]:
    """(owner, group, entries) of an open file."""
    status = os.fstat(fd)
    mode = stat.S_IMODE(status.st_mode)
    entries = AccessEntries(mode >> 6 & 7, mode >> 3 & 7, mode & 7, {}, {})
    try:
        raw = os.getxattr(fd, ATTRIBUTE)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return status.st_uid, status.st_gid, entries
        raise
    users: dict[int, int] = {}
    groups: dict[int, int] = {}
    own_group = entries.group
    mask = 7
    for tag, bits, who in _ENTRY.iter_unpack(raw[_HEAD.size :]):
        if tag == _USER:
            users[who] = bits
        elif tag == _GROUP:
            groups[who] = bits
        elif tag == _GROUP_OBJ:
            own_group = bits
        elif tag == _MASK:
            mask = bits
    return (
        status.st_uid,
        status.st_gid,
        AccessEntries(
            entries.owner,
            own_group & mask,
            entries.other,
            {who: bits & mask for who, bits in users.items()},
            {who: bits & mask for who, bits in groups.items()},
        ),
    )


def write_access(fd: int, owner: int | None, group: int | None, entries: AccessEntries) -> None:
    """Sets them on an open file. NotImplementedError if the file system keeps no ACL and one is needed."""
    status = os.fstat(fd)
    kept = stat.S_IMODE(status.st_mode) & ~0o777
    users = dict(entries.users)
    # Of the owner the owner's entry counts, whatever rule names that user besides.
    bits_of_owner = entries.owner | users.pop(status.st_uid if owner is None else owner, 0)
    named = bool(users or entries.groups)
    if (owner is not None and owner != status.st_uid) or (group is not None and group != status.st_gid):
        os.fchown(fd, -1 if owner is None else owner, -1 if group is None else group)
    if not named:
        if _has_acl(fd):
            os.removexattr(fd, ATTRIBUTE)
        os.fchmod(fd, kept | bits_of_owner << 6 | entries.group << 3 | entries.other)
        return
    mask = entries.group
    for bits in (*users.values(), *entries.groups.values()):
        mask |= bits
    mask = mask or 4  # it takes nothing; with none the kernel looks at no entry, and who is denied counts as the others
    rows = [(_USER_OBJ, bits_of_owner, _NOBODY)]
    rows += [(_USER, bits, who) for who, bits in sorted(users.items())]
    rows += [(_GROUP_OBJ, entries.group, _NOBODY)]
    rows += [(_GROUP, bits, who) for who, bits in sorted(entries.groups.items())]
    rows += [(_MASK, mask, _NOBODY), (_OTHER, entries.other, _NOBODY)]
    raw = _HEAD.pack(_VERSION) + b"".join(_ENTRY.pack(tag, bits, who) for tag, bits, who in rows)
    try:
        os.setxattr(fd, ATTRIBUTE, raw)  # sets the mode's nine bits as well
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            raise NotImplementedError(
                "this file system keeps no access-control lists: give rights to the owner, the group and everyone only"
            ) from None
        raise
    if kept & ~stat.S_IMODE(os.fstat(fd).st_mode):
        os.fchmod(fd, kept | stat.S_IMODE(os.fstat(fd).st_mode))  # a change of the owner takes such bits


def _has_acl(fd: int) -> bool:
    try:
        return bool(os.getxattr(fd, ATTRIBUTE))
    except OSError:
        return False
