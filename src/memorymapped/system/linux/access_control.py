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

from ..._native.files import attribute_of, remove_attribute, set_attribute
from ..._typing import TYPE_CHECKING
from ...enums import MemoryMappedFileRights as Rights
from ..names import Name, Scope

if TYPE_CHECKING:
    from ..access_rules import Entries, Said, Security
    from .backing import Backing

__all__ = [
    "access_of",
    "apply_access",
    "check_security",
    "group_of",
    "myself",
    "read_access",
    "said_in_sddl",
    "sddl_form",
    "user_of",
    "write_access",
]

ATTRIBUTE = b"system.posix_acl_access"
_VERSION = 2
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NOBODY = 0xFFFFFFFF
_HEAD, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")


def user_of(who: str | int) -> int:
    """The user id of a name or number. ValueError if there is no such user."""
    if isinstance(who, int) or (who.isascii() and who.isdigit()):
        return _id(int(who))
    import pwd

    try:
        return pwd.getpwnam(who).pw_uid
    except KeyError:
        raise ValueError(f"there is no user {who!r} on this system") from None


def group_of(who: str | int) -> int:
    """The group id of a name or number. ValueError if there is no such group."""
    if isinstance(who, int) or (who.isascii() and who.isdigit()):
        return _id(int(who))
    import grp

    try:
        return grp.getgrnam(who).gr_gid
    except KeyError:
        raise ValueError(f"there is no group {who!r} on this system") from None


def _id(number: int) -> int:
    if not 0 <= number < 2**32 - 1:  # the largest means "leave it" to chown(2)
        raise ValueError(f"{number} is no user or group id")
    return number


def myself() -> int:
    """The (effective) user."""
    return os.geteuid()


def check_security(security: Security, name: Name) -> None:
    """PermissionError if an object of this name cannot have it."""
    if security.names_another_owner():
        raise PermissionError(errno.EPERM, f"{name.given!r} belongs to who creates it: a name has no other owner")
    if name.scope is not Scope.GLOBAL and security.names_others():
        raise PermissionError(
            errno.EACCES,
            f"{name.given!r} lies where no other user can reach it, so rules for others mean nothing: name the map "
            f"'Global\\\\{name.text}'",
        )


def sddl_form(security: Security) -> str:
    """Windows' notation of it, which is of its users and rights."""
    raise NotImplementedError("SDDL describes rights and users of Windows: on Linux give rules")


def said_in_sddl(sddl: str) -> Said:
    """The other way round."""
    raise NotImplementedError("SDDL describes rights and users of Windows: on Linux give rules")


def read_access(backing: Backing) -> Said:
    """What the object behind a map has."""
    return access_of(backing.fd)


def write_access(backing: Backing, security: Security) -> None:
    """Gives the object behind a map owner, group and rules. NotImplementedError if the file system keeps no ACL and the
    rules need one."""
    apply_access(backing.fd, security, backing.owner_bits)


def apply_access(fd: int, security: Security, owner_bits: int | None = None) -> None:
    """Sets owner, group, mode and ACL of an open file. `owner_bits`: the owner's, whatever the rules say."""
    entries = security._entries()
    if owner_bits is not None:
        entries.owner = owner_bits
        entries.users.pop(os.fstat(fd).st_uid, None)
    owner, group = security.owner, security.group
    _write(fd, None if owner is None else user_of(owner), None if group is None else group_of(group), entries)


def _rights(bits: int) -> Rights:
    return Rights((bits & 4) | (bits & 2) | (bits & 1) << 3)


def _rule(identity: str, bits: int) -> tuple[str, Rights, int]:
    return identity, _rights(bits), 0


def access_of(fd: int) -> Said:
    """The rules, owner and group of an open file."""
    status = os.fstat(fd)
    mode = stat.S_IMODE(status.st_mode)
    users: dict[int, int] = {}
    groups: dict[int, int] = {}
    own_group = mode >> 3 & 7
    mask = 7
    for tag, bits, who in _ENTRY.iter_unpack(_list_of(fd)):
        if tag == _USER:
            users[who] = bits
        elif tag == _GROUP:
            groups[who] = bits
        elif tag == _GROUP_OBJ:
            own_group = bits
        elif tag == _MASK:
            mask = bits
    rules = [_rule("owner", mode >> 6 & 7)]
    rules += [_rule(f"user:{who}", bits & mask) for who, bits in users.items()]
    if own_group & mask:
        rules.append(_rule("group", own_group & mask))
    rules += [_rule(f"group:{who}", bits & mask) for who, bits in groups.items()]
    if mode & 7:
        rules.append(_rule("everyone", mode & 7))
    return rules, status.st_uid, status.st_gid


def _list_of(fd: int) -> bytes:
    """The entries of its ACL; none where there is no list."""
    try:
        return attribute_of(fd, ATTRIBUTE)[_HEAD.size :]
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return b""
        raise


def _write(fd: int, owner: int | None, group: int | None, entries: Entries) -> None:
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
            remove_attribute(fd, ATTRIBUTE)
        os.fchmod(fd, kept | bits_of_owner << 6 | entries.group << 3 | entries.other)
        return
    mask = entries.group
    for bits in (*users.values(), *entries.groups.values()):
        mask |= bits
    mask = mask or 4  # it takes nothing; with none the kernel looks at no entry, and who is denied counts as the others
    rows = [(_USER_OBJ, bits_of_owner, _NOBODY)]
    rows += [(_USER, bits, int(who)) for who, bits in sorted(users.items())]
    rows += [(_GROUP_OBJ, entries.group, _NOBODY)]
    rows += [(_GROUP, bits, int(who)) for who, bits in sorted(entries.groups.items())]
    rows += [(_MASK, mask, _NOBODY), (_OTHER, entries.other, _NOBODY)]
    raw = _HEAD.pack(_VERSION) + b"".join(_ENTRY.pack(tag, bits, who) for tag, bits, who in rows)
    try:
        set_attribute(fd, ATTRIBUTE, raw)  # sets the mode's nine bits as well
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
        return bool(attribute_of(fd, ATTRIBUTE))
    except OSError:
        return False
