# SPDX-License-Identifier: MIT
"""Owner and access rules of sections and files: as SDDL to the system, as entries of its lists back.

`"owner"` and `"group"` in a rule are the SIDs of owner and group, so that these rules mean the same on both systems. A
rule that denies goes before all that allow, and so wins. The rights of a rule are the section's own bits; of a file
they are those that a file has for the same.
"""

from __future__ import annotations

from ..._native import access_lists
from ..._native.access_lists import ALLOWED, DENIED, OF_FILE, OF_KERNEL
from ..._native.win32 import READ_CONTROL, WRITE_DAC, WRITE_OWNER, close_handle, create_file, open_section, rights_of
from ..._typing import TYPE_CHECKING
from ...enums import MemoryMappedFileRights as Rights
from ..names import Name, parse
from .descriptors import handle_of
from .names import extended, kernel_name

if TYPE_CHECKING:
    from ..access_rules import Said, Security
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
    "sddl_of",
    "user_of",
    "write_access",
]

EVERYONE = "S-1-1-0"
_INHERIT_ONLY = 8
_STANDARD = Rights.DELETE | Rights.READ_PERMISSIONS | Rights.CHANGE_PERMISSIONS | Rights.TAKE_OWNERSHIP
# A file's bits that make a right whole, and the one that counts.
_OF_FILE = (
    (Rights.READ, 0x120089, 0x1),  # FILE_GENERIC_READ, FILE_READ_DATA
    (Rights.WRITE, 0x120116, 0x2),
    (Rights.EXECUTE, 0x1200A0, 0x20),
)
_ALL_OF_FILE = 0x1F01FF
_EVERY_FILE_HAS = 0x120000  # READ_CONTROL and SYNCHRONIZE come with each of the three, and are nothing to tell


def user_of(who: str | int) -> str:
    """The SID of a user, by name or SID. ValueError if there is no such user."""
    return _sid_of(who, "user")


def group_of(who: str | int) -> str:
    """The SID of a group, by name or SID. ValueError if there is no such group."""
    return _sid_of(who, "group")


def _sid_of(who: str | int, kind: str) -> str:
    sid = access_lists.sid_of(who) if isinstance(who, str) else None
    if sid is None:
        raise ValueError(f"there is no {kind} {who!r} on this system: give the name of one, or a SID")
    return sid


def myself() -> str:
    """The user of this process."""
    return access_lists.own_sids()[0]


def check_security(security: Security, name: Name) -> None:
    """Nothing: every name can be reached by others of the session, and the system says who may own what."""


def sddl_of(security: Security, kind: int, owner: str | None = None, group: str | None = None) -> str:
    """The descriptor in SDDL. `owner`, `group`: the SIDs that an existing object has; without, it is a new one, and
    they are this process's."""
    existing = owner is not None
    own = access_lists.own_sids()
    head = ""
    if security.owner is not None or not existing:
        owner = own[0] if security.owner is None else user_of(security.owner)
        head += f"O:{owner}"
    if security.group is not None or not existing:
        group = own[1] if security.group is None else group_of(security.group)
        head += f"G:{group}"
    sids = {"everyone": EVERYONE, "owner": owner, "group": group}
    rules = [
        (rule.access_control_type, sids.get(rule.identity) or _sid(rule.identity), rule.rights)
        for rule in security.rules
    ]
    if not any(kind == ALLOWED and sid == owner for kind, sid, _ in rules):
        rules.append((ALLOWED, str(owner), Rights.READ_WRITE))
    rules.sort(key=lambda rule: rule[0] == ALLOWED)
    entries = (f"({'D' if denied else 'A'};;{_mask(rights, kind, denied):#x};;;{sid})" for denied, sid, rights in rules)
    return f"{head}D:P{''.join(entries)}"


def _sid(identity: str) -> str:
    of, _, who = identity.partition(":")
    return user_of(who) if of == "user" else group_of(who)


def _mask(rights: Rights, kind: int, denied: int) -> int:
    if kind == OF_KERNEL:
        return int(rights)
    if rights & Rights.FULL_CONTROL == Rights.FULL_CONTROL:
        return _ALL_OF_FILE
    mask = int(rights & _STANDARD)
    for right, whole, needed in _OF_FILE:
        if rights & right or (right is Rights.READ and rights & Rights.COPY_ON_WRITE):
            mask |= needed if denied else whole
    return mask


def _rights(mask: int, kind: int) -> Rights:
    if mask & 0x10000000:  # GENERIC_ALL
        return Rights.FULL_CONTROL
    if kind == OF_KERNEL:
        return Rights(mask & Rights.FULL_CONTROL)
    if mask & _ALL_OF_FILE == _ALL_OF_FILE:
        return Rights.FULL_CONTROL
    rights = Rights(mask & _STANDARD & ~_EVERY_FILE_HAS)
    for right, _, needed in _OF_FILE:
        if mask & needed:
            rights |= right
    return rights


def said(descriptor: access_lists.Descriptor, kind: int) -> Said:
    """The rules, owner and group of a descriptor."""
    owner, group, entries = descriptor
    if entries is None:  # everything is allowed to everybody
        return [("everyone", Rights.FULL_CONTROL, ALLOWED)], owner or "", group or ""
    rules = []
    for type_, flags, mask, sid in entries:
        if type_ in (ALLOWED, DENIED) and not flags & _INHERIT_ONLY:
            rules.append((_identity(sid, owner, group), _rights(mask, kind), type_))
    return rules, owner or "", group or ""


def _identity(sid: str, owner: str | None, group: str | None) -> str:
    if sid in (owner, group, EVERYONE):
        return "owner" if sid == owner else "group" if sid == group else "everyone"
    account = access_lists.account_of(sid)
    return f"{'user' if account is None or account[1] else 'group'}:{sid}"


def sddl_form(security: Security) -> str:
    """The descriptor in SDDL that a map gets."""
    return sddl_of(security, OF_KERNEL)


def said_in_sddl(sddl: str) -> Said:
    """The rules, owner and group of a descriptor in SDDL. ValueError if it is none."""
    return said(access_lists.parse(sddl), OF_KERNEL)


def read_access(backing: Backing) -> Said:
    """What the section or the file behind a map has. PermissionError if this user may not ask."""
    handle, kind, close = _opened(backing, READ_CONTROL)
    try:
        return said(access_lists.read(handle, kind), kind)
    finally:
        if close:
            close_handle(handle)


def write_access(backing: Backing, security: Security) -> None:
    """Gives them owner, group and rules. PermissionError if this user may not."""
    rights = READ_CONTROL | WRITE_DAC
    if security.owner is not None or security.group is not None:
        rights |= WRITE_OWNER
    handle, kind, close = _opened(backing, rights)
    try:
        _write(handle, kind, security)
    finally:
        if close:
            close_handle(handle)


def access_of(fd: int) -> Said:
    """The rules, owner and group of an open file."""
    handle = handle_of(fd)
    return said(access_lists.read(handle, OF_FILE), OF_FILE)


def apply_access(fd: int, security: Security, owner_bits: int | None = None) -> None:
    """Gives an open file owner, group and rules. `owner_bits` are Linux's. PermissionError if it was not opened so that
    this user may."""
    _write(handle_of(fd), OF_FILE, security)


def _write(handle: int, kind: int, security: Security) -> None:
    owner, group, _ = access_lists.read(handle, kind)
    access_lists.write(handle, kind, sddl_of(security, kind, owner or myself(), group or ""))


def _opened(backing: Backing, rights: int) -> tuple[int, int, bool]:
    """A handle with these rights, of what kind it is, and whether it is to be closed: that of the map was not opened
    with them."""
    if backing.path is not None:
        return create_file(extended(backing.path), rights, False, False), OF_FILE, True
    if backing.name is None or rights_of(backing.view_fd) & rights == rights:
        return backing.view_fd, OF_KERNEL, False
    return open_section(kernel_name(parse(backing.name)), rights, False), OF_KERNEL, True
