# SPDX-License-Identifier: MIT
"""Who may do what with a map: .NET Framework's MemoryMappedFileSecurity on owner, group, mode bits and POSIX ACLs.

What can be kept and what cannot, next to the access-control lists of Windows:

- Rights are read (with copy on write), write and execute. The others (delete, read and change permissions, take
  ownership) belong on Linux to the owner and to the folder; in a rule they are allowed and change nothing.
- A denial is the absence of a permission: the entry of whom it names loses the bits. The most specific entry counts
  (owner, named user, then the groups, then everyone), as acl(5) says; there is no order of rules.
- There is no audit.

On Windows the rules are the entries of an access-control list, and all rights count: docs/windows.md.

Objects of the user's own scope (`X`, `User\\X`, `Local\\X`) lie in a folder that nobody else can enter: rules for
anybody else are refused there. A map for several users is named `Global\\X`.
"""

from __future__ import annotations

import enum

from ._typing import TYPE_CHECKING
from .enums import MemoryMappedFileRights as Rights
from .enums import _Checked
from .system import access_of, apply_access, group_of, myself, said_in_sddl, sddl_form, user_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .system.access_rules import Said

__all__ = ["AccessControlType", "AccessRule", "MemoryMappedFileSecurity"]


class AccessControlType(_Checked, enum.IntEnum):
    """Whether a rule gives rights or takes them."""

    ALLOW = 0
    DENY = 1


class AccessRule:
    """Rights for somebody. Immutable; equal rules compare equal.

    `identity` is `"everyone"`, `"owner"`, `"group"` (the owning group), `"user:NAME"` or `"group:NAME"`; a bare name
    or a number is a user. Names and numbers of the system's user database both work."""

    __slots__ = ("_fields",)
    _fields: tuple[str, Rights, AccessControlType]

    def __init__(
        self,
        identity: str | int,
        rights: Rights,
        access_control_type: AccessControlType = AccessControlType.ALLOW,
    ) -> None:
        self._fields = (_normal(identity), Rights(rights), AccessControlType(access_control_type))

    @property
    def identity(self) -> str:
        """Whom the rule is for, in its full spelling."""
        return self._fields[0]

    @property
    def rights(self) -> Rights:
        """What it is about."""
        return self._fields[1]

    @property
    def access_control_type(self) -> AccessControlType:
        """Whether it gives or takes."""
        return self._fields[2]

    def _with(self, rights: Rights) -> AccessRule:
        return AccessRule(self.identity, rights, self.access_control_type)

    def __eq__(self, other: object) -> bool:
        return self._fields == other._fields if isinstance(other, AccessRule) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._fields)

    def __repr__(self) -> str:
        return f"AccessRule({self.identity!r}, {self.rights!r}, {self.access_control_type!r})"


class MemoryMappedFileSecurity:
    """Owner, group and access rules of a map's backing object.

    Without rules only the owner may read and write. A new object is owned by who creates it; `owner` and `group`
    (a name or a number) change that where the system allows it. Applies to objects that a call *creates*: an existing
    one keeps its own, as in .NET; `MemoryMappedFile.set_access_control` changes it."""

    def __init__(
        self,
        rules: Iterable[AccessRule] = (),
        *,
        owner: str | int | None = None,
        group: str | int | None = None,
    ) -> None:
        self._rules: list[AccessRule] = []
        self.owner = owner
        self.group = group
        for rule in rules:
            self.add_access_rule(rule)

    @classmethod
    def from_mode(cls, mode: int) -> MemoryMappedFileSecurity:
        """The rules that are these nine mode bits, such as 0o640."""
        if not 0 <= mode <= 0o777:
            raise ValueError(f"mode is nine bits, 0 to 0o777, got {mode:#o}")
        rules = []
        for identity, bits in (("owner", mode >> 6 & 7), ("group", mode >> 3 & 7), ("everyone", mode & 7)):
            if bits or identity == "owner":
                rules.append(AccessRule(identity, _rights(bits)))
        return cls(rules)

    # -- rules, as ObjectSecurity<MemoryMappedFileRights> has them

    def add_access_rule(self, rule: AccessRule) -> None:
        """Adds the rule's rights to those that the identity has already."""
        rule = _checked(rule)
        for i, known in enumerate(self._rules):
            if _same(known, rule):
                self._rules[i] = known._with(known.rights | rule.rights)
                return
        self._rules.append(rule)

    def set_access_rule(self, rule: AccessRule) -> None:
        """Replaces the identity's rules of the same type by this one."""
        rule = _checked(rule)
        self._rules = [known for known in self._rules if not _same(known, rule)]
        self._rules.append(rule)

    def reset_access_rule(self, rule: AccessRule) -> None:
        """Replaces all rules of the identity, of both types, by this one."""
        rule = _checked(rule)
        self._rules = [known for known in self._rules if known.identity != rule.identity]
        self._rules.append(rule)

    def remove_access_rule(self, rule: AccessRule) -> bool:
        """Takes the rule's rights from the identity's rule of the same type. False if there is none."""
        rule = _checked(rule)
        for i, known in enumerate(self._rules):
            if _same(known, rule):
                left = known.rights & ~rule.rights
                if left:
                    self._rules[i] = known._with(left)
                else:
                    del self._rules[i]
                return True
        return False

    def remove_access_rule_all(self, rule: AccessRule) -> None:
        """Removes all rules of the identity and the type of this one, whatever their rights."""
        rule = _checked(rule)
        self._rules = [known for known in self._rules if not _same(known, rule)]

    def remove_access_rule_specific(self, rule: AccessRule) -> None:
        """Removes exactly this rule, if it is there."""
        rule = _checked(rule)
        self._rules = [known for known in self._rules if known != rule]

    @property
    def rules(self) -> tuple[AccessRule, ...]:
        """The rules, in the order in which they were added."""
        return tuple(self._rules)

    def get_access_rules(self) -> list[AccessRule]:
        """The rules, in the order in which they were added."""
        return list(self._rules)

    def set_owner(self, identity: str | int) -> None:
        """The owner of objects created with this (only root may give them away)."""
        self.owner = identity

    def set_group(self, identity: str | int) -> None:
        """The owning group of objects created with this; its members get what rules for `"group"` say."""
        self.group = identity

    def get_security_descriptor_sddl_form(self) -> str:
        """Owner, group and rules as SDDL: the descriptor that a map gets by this. Windows only: NotImplementedError."""
        return sddl_form(self)

    def set_security_descriptor_sddl_form(self, sddl_form: str) -> None:
        """Replaces owner, group and rules by those of a descriptor in SDDL. ValueError if it is none. Windows only:
        NotImplementedError."""
        other = self._said(said_in_sddl(sddl_form))
        self._rules, self.owner, self.group = other._rules, other.owner or None, other.group or None

    def __iter__(self) -> Iterator[AccessRule]:
        return iter(self._rules)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MemoryMappedFileSecurity):
            return NotImplemented
        return self._entries() == other._entries() and (self.owner, self.group) == (other.owner, other.group)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"MemoryMappedFileSecurity({self._rules!r}, owner={self.owner!r}, group={self.group!r})"

    # -- to the system and back

    @property
    def mode(self) -> int:
        """The nine mode bits that the rules for owner, group and everyone amount to."""
        entries = self._entries()
        return entries.owner << 6 | entries.group << 3 | entries.other

    def names_others(self) -> bool:
        """Whether anybody but this (effective) user gets a right."""
        entries = self._entries()
        users = any(bits for who, bits in entries.users.items() if who != myself())
        return bool(entries.group or entries.other or users or any(entries.groups.values()))

    def names_another_owner(self) -> bool:
        """Whether what is created with this would not be this (effective) user's."""
        return self.owner is not None and user_of(self.owner) != myself()

    def apply(self, fd: int, owner_bits: int | None = None) -> None:
        """Gives an open file owner, group and rules. `owner_bits`: the owner's permissions, whatever the rules say."""
        apply_access(fd, self, owner_bits)

    @classmethod
    def of(cls, fd: int) -> MemoryMappedFileSecurity:
        """What an open file has."""
        return cls._said(access_of(fd))

    @classmethod
    def _said(cls, said: Said) -> MemoryMappedFileSecurity:
        rules, owner, group = said
        made = (AccessRule(who, rights, AccessControlType(how)) for who, rights, how in rules)
        return cls(made, owner=owner, group=group)

    def _entries(self) -> AccessEntries:
        """What the rules amount to, as permissions of each."""
        bits: dict[tuple[str, int | str], int] = {}
        for rule in self._rules:
            if rule.access_control_type is AccessControlType.ALLOW:
                who = _whom(rule.identity)
                bits[who] = bits.get(who, 0) | _bits(rule.rights)
        bits.setdefault(("owner", 0), 6)
        for rule in self._rules:
            if rule.access_control_type is AccessControlType.DENY:
                who = _whom(rule.identity)
                bits[who] = bits.get(who, 0) & ~_bits(rule.rights)
        users = {number: allowed for (of, number), allowed in bits.items() if of == "user"}
        groups = {number: allowed for (of, number), allowed in bits.items() if of == "groups"}
        owner, group, everyone = (bits.get((of, 0), 0) for of in ("owner", "group", "everyone"))
        return AccessEntries(owner, group, everyone, users, groups)


class AccessEntries:
    """Permissions (4 read, 2 write, 1 execute) of the owner, the owning group, everybody else, and those named: by what
    the system has for them, a number or a SID."""

    __slots__ = ("group", "groups", "other", "owner", "users")

    def __init__(
        self, owner: int, group: int, other: int, users: dict[int | str, int], groups: dict[int | str, int]
    ) -> None:
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


def _whom(identity: str) -> tuple[str, int | str]:
    of, _, who = identity.partition(":")
    if not who:
        return of, 0
    return ("user", user_of(who)) if of == "user" else ("groups", group_of(who))


def _checked(rule: AccessRule) -> AccessRule:
    if not isinstance(rule, AccessRule):
        raise TypeError(f"an AccessRule is needed, not {type(rule).__name__}")
    return rule


def _same(a: AccessRule, b: AccessRule) -> bool:
    return (a.identity, a.access_control_type) == (b.identity, b.access_control_type)


def _normal(identity: str | int) -> str:
    if isinstance(identity, int):
        if identity < 0:
            raise ValueError(f"a user id is not negative: {identity}")
        return f"user:{identity}"
    if not isinstance(identity, str):
        raise TypeError(f"an identity is a str or a user id, not {type(identity).__name__}")
    if identity.casefold() in ("everyone", "owner", "group"):
        return identity.casefold()
    kind, colon, who = identity.partition(":")
    if colon and (kind not in ("user", "group") or not who):
        raise ValueError(
            f"{identity!r} is no identity: everyone, owner, group, user:NAME, group:NAME, or a user's name"
        )
    if not identity:
        raise ValueError("an identity must not be empty")
    return identity if colon else f"user:{identity}"


def _bits(rights: Rights) -> int:
    return (
        (4 if rights & (Rights.READ | Rights.COPY_ON_WRITE) else 0)
        | (2 if rights & Rights.WRITE else 0)
        | (1 if rights & Rights.EXECUTE else 0)
    )


def _rights(bits: int) -> Rights:
    rights = Rights.NONE
    if bits & 4:
        rights |= Rights.READ
    if bits & 2:
        rights |= Rights.WRITE
    if bits & 1:
        rights |= Rights.EXECUTE
    return rights
