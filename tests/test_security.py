# SPDX-License-Identifier: MIT
"""Access rules: the objects themselves, what they become on the file system, and who can then do what."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from naming import plainly
from peers import Peer, needs_root, peers
from root import SHM, descriptors
from support.here import UID

from memorymapped import (
    AccessControlType,
    AccessRule,
    ClosedError,
    FileMode,
    MemoryMappedFile,
    MemoryMappedFileSecurity,
    OutOfRangeError,
)
from memorymapped import MemoryMappedFileAccess as Access
from memorymapped import MemoryMappedFileRights as Rights

ALLOW, DENY = AccessControlType
ALICE, BOB, CAROL = 65532, 65533, 65534

MakePeer = Callable[..., Peer]


def has_acl(folder: Path) -> bool:
    from memorymapped._native.files import attribute_of  # which Windows has not

    with tempfile.NamedTemporaryFile(dir=folder) as file:
        try:
            attribute_of(file.fileno(), b"system.posix_acl_access")
        except OSError as error:
            return error.errno == errno.ENODATA
    return True


@pytest.fixture(params=["shared memory", "disk"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder that every user can enter, on the shared-memory file system and where temporary files are."""
    where = Path(tempfile.mkdtemp(prefix="memorymapped-tests-", dir=SHM if request.param == "shared memory" else None))
    where.chmod(0o755)
    yield where
    shutil.rmtree(where)


@pytest.fixture
def root() -> Iterator[Path]:
    """A root of names that every user may write to."""
    root = Path(tempfile.mkdtemp(prefix="memorymapped-tests-root-", dir=SHM))
    root.chmod(0o1777)
    yield root
    shutil.rmtree(root)


@pytest.fixture
def peer(run: Callable[..., subprocess.Popen[str]]) -> Iterator[MakePeer]:
    with peers(run) as make:
        yield make


def mode_of(path: str | Path | None) -> int:
    assert path is not None
    return stat.S_IMODE(os.stat(path).st_mode)


# ------------------------------------------------------------------------------------------------ a rule


@pytest.mark.parametrize(
    ("identity", "full"),
    [
        ("everyone", "everyone"),
        ("Everyone", "everyone"),
        ("OWNER", "owner"),
        ("group", "group"),
        ("alice", "user:alice"),
        ("user:alice", "user:alice"),
        ("group:staff", "group:staff"),
        (1000, "user:1000"),
        (0, "user:0"),
        ("7", "user:7"),
        ("user:everyone", "user:everyone"),
    ],
)
def test_a_rule_shows_whom_it_is_for_in_full(identity: str | int, full: str) -> None:
    rule = AccessRule(identity, Rights.READ)
    assert (rule.identity, rule.rights, rule.access_control_type) == (full, Rights.READ, ALLOW)
    assert rule == AccessRule(full, Rights.READ, ALLOW)
    assert hash(rule) == hash(AccessRule(full, Rights.READ))
    assert rule != AccessRule(full, Rights.WRITE)
    assert rule != AccessRule(full, Rights.READ, DENY)
    assert rule != full
    assert full in repr(rule)


@pytest.mark.parametrize("identity", ["", "user:", "group:", ":", "alice:bob", "owner:x", "User:alice", -1])
def test_what_is_no_identity_is_refused(identity: str | int) -> None:
    with pytest.raises(ValueError, match=r"identity|negative"):
        AccessRule(identity, Rights.READ)


@pytest.mark.parametrize("identity", [None, b"alice", 1.5, ("user", "alice")])
def test_an_identity_is_text_or_a_number(identity: object) -> None:
    with pytest.raises(TypeError, match="identity"):
        AccessRule(identity, Rights.READ)  # type: ignore[arg-type]


def test_a_rule_has_rights_that_there_are() -> None:
    assert AccessRule("everyone", 4).rights is Rights.READ  # type: ignore[arg-type]
    for rights in (0x10, -1, 0x2000000):
        with pytest.raises(OutOfRangeError):
            AccessRule("everyone", rights)  # type: ignore[arg-type]
    with pytest.raises(OutOfRangeError):
        AccessRule("everyone", Rights.READ, 2)  # type: ignore[arg-type]


def test_a_rule_never_changes_and_travels() -> None:
    rule = AccessRule("everyone", Rights.READ, DENY)
    for field in ("identity", "rights", "access_control_type", "other"):
        with pytest.raises(AttributeError):
            setattr(rule, field, None)
    assert copy.deepcopy(rule) == pickle.loads(pickle.dumps(rule)) == rule


# ------------------------------------------------------------------------------------------------ several rules

A_READ, A_WRITE, B_READ = (
    AccessRule("a", Rights.READ),
    AccessRule("a", Rights.WRITE),
    AccessRule("b", Rights.READ),
)
A_BOTH = AccessRule("a", Rights.READ_WRITE)
A_DENIED = AccessRule("a", Rights.READ, DENY)


@pytest.mark.parametrize(
    ("before", "method", "rule", "after"),
    [
        ([], "add_access_rule", A_READ, [A_READ]),
        ([A_READ, B_READ], "add_access_rule", A_WRITE, [A_BOTH, B_READ]),
        ([A_READ], "add_access_rule", A_DENIED, [A_READ, A_DENIED]),
        ([A_BOTH], "add_access_rule", A_READ, [A_BOTH]),
        ([A_READ, A_DENIED, B_READ], "set_access_rule", A_WRITE, [A_DENIED, B_READ, A_WRITE]),
        ([], "set_access_rule", A_WRITE, [A_WRITE]),
        ([A_READ, A_DENIED, B_READ], "reset_access_rule", A_WRITE, [B_READ, A_WRITE]),
        ([A_BOTH, B_READ], "remove_access_rule", A_READ, [A_WRITE, B_READ]),
        ([A_BOTH, B_READ], "remove_access_rule", A_BOTH, [B_READ]),
        ([A_READ, A_DENIED], "remove_access_rule", A_READ, [A_DENIED]),
        ([A_BOTH, A_DENIED, B_READ], "remove_access_rule_all", A_READ, [A_DENIED, B_READ]),
        ([A_BOTH, B_READ], "remove_access_rule_specific", A_READ, [A_BOTH, B_READ]),
        ([A_BOTH, B_READ], "remove_access_rule_specific", A_BOTH, [B_READ]),
    ],
)
def test_rules_are_added_replaced_and_removed(
    before: list[AccessRule], method: str, rule: AccessRule, after: list[AccessRule]
) -> None:
    security = MemoryMappedFileSecurity(before)
    result = getattr(security, method)(rule)
    assert security.get_access_rules() == list(security) == list(security.rules) == after
    assert result is (True if method == "remove_access_rule" else None)


def test_removing_a_rule_that_is_not_there_says_so() -> None:
    security = MemoryMappedFileSecurity([A_READ])
    assert security.remove_access_rule(B_READ) is False
    assert security.remove_access_rule(A_DENIED) is False
    assert list(security) == [A_READ]


def test_the_list_of_rules_is_a_copy() -> None:
    security = MemoryMappedFileSecurity([A_READ])
    security.get_access_rules().clear()
    assert list(security) == [A_READ]


@pytest.mark.parametrize(
    "method",
    ["add_access_rule", "set_access_rule", "reset_access_rule", "remove_access_rule", "remove_access_rule_all",
     "remove_access_rule_specific"],
)  # fmt: skip
@pytest.mark.parametrize("rule", [None, "everyone", ("everyone", Rights.READ)])
def test_only_rules_are_rules(method: str, rule: object) -> None:
    with pytest.raises(TypeError, match="AccessRule"):
        getattr(MemoryMappedFileSecurity(), method)(rule)
    with pytest.raises(TypeError):
        MemoryMappedFileSecurity([rule])  # type: ignore[list-item]


@given(st.integers(0, 0o777))
def test_every_mode_becomes_rules_and_the_same_mode(mode: int) -> None:
    assert MemoryMappedFileSecurity.from_mode(mode).mode == mode


@pytest.mark.parametrize("mode", [-1, 0o1000, 0o100600])
def test_a_mode_is_nine_bits(mode: int) -> None:
    with pytest.raises(ValueError, match="nine bits"):
        MemoryMappedFileSecurity.from_mode(mode)


@pytest.mark.parametrize(
    ("rules", "mode"),
    [
        ([], 0o600),
        ([AccessRule("everyone", Rights.READ)], 0o604),
        ([AccessRule("everyone", Rights.COPY_ON_WRITE)], 0o604),
        ([AccessRule("everyone", Rights.WRITE)], 0o602),
        ([AccessRule("group", Rights.READ_WRITE_EXECUTE)], 0o670),
        ([AccessRule("owner", Rights.READ)], 0o400),
        ([AccessRule("owner", Rights.WRITE, DENY)], 0o400),
        ([AccessRule("owner", Rights.READ_WRITE, DENY), AccessRule("owner", Rights.FULL_CONTROL)], 0o100),
        ([AccessRule("everyone", Rights.FULL_CONTROL)], 0o607),
        ([AccessRule("everyone", Rights.DELETE | Rights.TAKE_OWNERSHIP)], 0o600),
        ([AccessRule("everyone", Rights.READ_WRITE), AccessRule("everyone", Rights.WRITE, DENY)], 0o604),
        ([AccessRule("everyone", Rights.WRITE, DENY), AccessRule("everyone", Rights.READ_WRITE)], 0o604),
        ([AccessRule("everyone", Rights.READ_WRITE, DENY)], 0o600),
    ],
)
def test_rules_amount_to_a_mode(rules: list[AccessRule], mode: int) -> None:
    assert MemoryMappedFileSecurity(rules).mode == mode


def test_securities_that_say_the_same_are_equal() -> None:
    one = MemoryMappedFileSecurity([AccessRule("everyone", Rights.READ), AccessRule(0, Rights.WRITE)])
    assert one == MemoryMappedFileSecurity([AccessRule("root", Rights.WRITE), AccessRule("everyone", Rights.READ)])
    assert one != MemoryMappedFileSecurity([AccessRule("everyone", Rights.READ)])
    assert one != MemoryMappedFileSecurity(one, owner=1)
    assert one != "security"
    with pytest.raises(TypeError):
        hash(one)


def test_two_spellings_of_one_user_are_one_user() -> None:
    security = MemoryMappedFileSecurity([AccessRule("root", Rights.READ), AccessRule(0, Rights.WRITE)])
    assert security == MemoryMappedFileSecurity([AccessRule("root", Rights.READ_WRITE)])


@pytest.mark.parametrize(
    "security",
    [
        MemoryMappedFileSecurity([AccessRule("nobody-has-this-name", Rights.READ)]),
        MemoryMappedFileSecurity([AccessRule("group:nobody-has-this-name", Rights.READ)]),
        MemoryMappedFileSecurity([AccessRule(2**32, Rights.READ)]),
        MemoryMappedFileSecurity([AccessRule("group:4294967295", Rights.READ)]),
        MemoryMappedFileSecurity([AccessRule("user:\u00b2", Rights.READ)]),
        MemoryMappedFileSecurity(owner="nobody-has-this-name"),
        MemoryMappedFileSecurity(group=-1),
    ],
    ids=plainly,
)
def test_somebody_who_does_not_exist_is_refused_and_leaves_nothing(
    security: MemoryMappedFileSecurity, tmp_path: Path
) -> None:
    before = descriptors()
    for make in (
        lambda: MemoryMappedFile.create_new("Global\\n", 10, security=security),
        lambda: MemoryMappedFile.create_new(None, 10, security=security),
        lambda: MemoryMappedFile.create_from_file(tmp_path / "f", FileMode.CREATE_NEW, None, 10, security=security),
    ):
        with pytest.raises(ValueError, match=r"there is no|is no user"):
            make()
    assert list(tmp_path.iterdir()) == []
    assert descriptors() == before


# ------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o400, 0o777])
def test_a_file_that_the_call_makes_gets_the_rules_as_its_mode(folder: Path, mode: int) -> None:
    security = MemoryMappedFileSecurity.from_mode(mode)
    for file_mode in (FileMode.CREATE_NEW, FileMode.CREATE, FileMode.OPEN_OR_CREATE):
        file = folder / file_mode.name
        with MemoryMappedFile.create_from_file(file, file_mode, None, 10, security=security) as map_:
            assert mode_of(file) == mode
            said = map_.get_access_control()
            assert said.mode == mode
            assert (said.owner, said.group) == (file.stat().st_uid, file.stat().st_gid)


@pytest.mark.parametrize("file_mode", [FileMode.OPEN, FileMode.CREATE, FileMode.OPEN_OR_CREATE])
def test_a_file_that_is_there_keeps_its_own(folder: Path, file_mode: FileMode) -> None:
    file = folder / "file"
    file.write_bytes(b"1234")
    file.chmod(0o644)
    security = MemoryMappedFileSecurity.from_mode(0o600)
    with MemoryMappedFile.create_from_file(file, file_mode, None, 10, security=security) as map_:
        assert mode_of(file) == 0o644
        map_.set_access_control(security)
        assert mode_of(file) == 0o600
    with open(file, "r+b") as opened, MemoryMappedFile.create_from_file(opened, security=security):
        pass


def test_what_was_got_can_be_set_again(folder: Path) -> None:
    file = folder / "file"
    file.write_bytes(b"1234")
    file.chmod(0o2750)
    with MemoryMappedFile.create_from_file(file) as map_:
        map_.set_access_control(map_.get_access_control())
        assert mode_of(file) == 0o2750  # the other bits are nobody's right, and stay
        rules = [AccessRule("owner", Rights.READ_WRITE), AccessRule("everyone", Rights.READ)]
        if has_acl(folder):
            rules += [AccessRule(ALICE, Rights.READ_WRITE), AccessRule(f"group:{BOB}", Rights.READ)]
        security = MemoryMappedFileSecurity(rules, owner=UID, group=os.getgid())
        map_.set_access_control(security)
        assert map_.get_access_control() == security
        map_.set_access_control(map_.get_access_control())
        assert map_.get_access_control() == security
        map_.set_access_control(MemoryMappedFileSecurity.from_mode(0o600))  # the list goes as well
        assert mode_of(file) == 0o2600
        assert map_.get_access_control().get_access_rules() == [AccessRule("owner", Rights.READ_WRITE)]


@needs_root
def test_owner_and_group_are_given(folder: Path) -> None:
    file = folder / "file"
    security = MemoryMappedFileSecurity.from_mode(0o640)
    security.set_owner(ALICE)
    security.set_group(str(BOB))
    with MemoryMappedFile.create_from_file(file, FileMode.CREATE_NEW, None, 10, security=security) as map_:
        assert (file.stat().st_uid, file.stat().st_gid, mode_of(file)) == (ALICE, BOB, 0o640)
        said = map_.get_access_control()
        assert (said.owner, said.group) == (ALICE, BOB)


def can(user: int, path: Path | str) -> str:
    """What a user may do with a file: "", "r", "w" or "rw"."""
    opens = '(: < "$1") && printf r; (: >> "$1") && printf w; true'
    as_user: Any = {"user": user, "group": user, "extra_groups": [], "env": {**os.environ, "LC_ALL": "C"}}
    child = subprocess.run(["sh", "-c", opens, "sh", path], capture_output=True, text=True, check=True, **as_user)
    assert all(line.endswith("Permission denied") for line in child.stderr.splitlines()), child.stderr
    return child.stdout


@needs_root
@pytest.mark.parametrize(
    ("rules", "alice", "bob", "carol"),
    [
        ([], "", "", ""),
        ([AccessRule("everyone", Rights.READ)], "r", "r", "r"),
        ([AccessRule(ALICE, Rights.READ)], "r", "", ""),
        ([AccessRule(ALICE, Rights.READ_WRITE), AccessRule(BOB, Rights.READ)], "rw", "r", ""),
        ([AccessRule(f"group:{BOB}", Rights.READ_WRITE)], "", "rw", ""),
        ([AccessRule("everyone", Rights.READ_WRITE), AccessRule(BOB, Rights.READ_WRITE, DENY)], "rw", "", "rw"),
        ([AccessRule("everyone", Rights.READ_WRITE), AccessRule(f"group:{BOB}", Rights.WRITE, DENY),
          AccessRule(f"group:{BOB}", Rights.READ)], "rw", "r", "rw"),
        ([AccessRule("everyone", Rights.READ), AccessRule(ALICE, Rights.WRITE)], "w", "r", "r"),
        ([AccessRule("group", Rights.READ), AccessRule(ALICE, Rights.READ_WRITE)], "rw", "", ""),
    ],
    ids=str,
)  # fmt: skip
def test_the_rules_are_what_other_users_then_can_do(
    folder: Path, rules: list[AccessRule], alice: str, bob: str, carol: str
) -> None:
    if not has_acl(folder):
        pytest.skip("this file system keeps no access-control lists")
    file = folder / "file"
    with MemoryMappedFile.create_from_file(
        file, FileMode.CREATE_NEW, None, 10, security=MemoryMappedFileSecurity(rules)
    ) as map_:
        users = (ALICE, BOB, CAROL)
        assert [can(user, file) for user in users] == [alice, bob, carol]
        map_.set_access_control(MemoryMappedFileSecurity())
        assert [can(user, file) for user in users] == ["", "", ""]
        map_.set_access_control(MemoryMappedFileSecurity(rules))
        assert [can(user, file) for user in users] == [alice, bob, carol]


_NO_LISTS = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x20000) == 0  # CLONE_NEWNS: what is mounted here is seen by this process only
assert libc.mount(b"none", b"/", None, 0x44000, None) == 0  # MS_REC | MS_PRIVATE
assert libc.mount(b"none", os.environ["MEMORYMAPPED_ROOT"].encode(), b"ramfs", 0, None) == 0
"""


@needs_root
def test_where_there_are_no_lists_a_rule_that_needs_one_is_refused(peer: MakePeer, root: Path) -> None:
    here = peer(before=_NO_LISTS, root=root)
    here("rules = [AccessRule('everyone', Rights.READ), AccessRule(65534, Rights.READ)]")
    refusal = here.refusal("MemoryMappedFile.create_new('Global\\\\n', 10, security=Security(rules))")
    assert refusal.is_a(NotImplementedError)
    assert "access-control lists" in refusal.message
    file = f"{root}/file"
    create = f"MemoryMappedFile.create_from_file({file!r}, FileMode.CREATE_NEW, None, 10, security=Security"
    assert here.refusal(f"{create}(rules))").is_a(NotImplementedError)
    assert not here.ask(f"os.path.exists({file!r})")
    here(f"m = {create}(rules[:1]))")
    assert here.ask("m.get_access_control().mode") == 0o604
    assert here.refusal("m.set_access_control(Security(rules))").is_a(NotImplementedError)
    assert here.ask("m.get_access_control().mode") == 0o604
    here("MemoryMappedFile.create_new('Global\\\\n', 10, security=Security(rules[:1])).close()")


# ------------------------------------------------------------------------------------------------ named maps


@needs_root
def test_a_list_lets_the_named_users_open_a_global_map(peer: MakePeer, root: Path) -> None:
    if not has_acl(root):
        pytest.skip("this file system keeps no access-control lists")
    owner = peer(uid=CAROL, root=root)
    alice, bob = peer(uid=ALICE, root=root), peer(uid=BOB, root=root)
    owner(
        f"m = MemoryMappedFile.create_new('Global\\\\n', 10, security=Security([AccessRule({ALICE}, Rights.READ_WRITE),"
        f" AccessRule('group:{BOB}', Rights.READ)]))"
    )
    alice("MemoryMappedFile.open_existing('Global\\\\n').create_view_accessor().write_byte(0, 3)")
    assert bob.refusal("MemoryMappedFile.open_existing('Global\\\\n')").is_a(PermissionError)
    bob("r = MemoryMappedFile.open_existing('Global\\\\n', Rights.READ).create_view_accessor(0, 0, Access.READ)")
    assert bob.ask("r.read_byte(0)") == 3
    owner("m.set_access_control(Security())")
    for user in (alice, bob):
        assert user.refusal("MemoryMappedFile.open_existing('Global\\\\n', Rights.READ)").is_a(PermissionError)
    owner(f"m.set_access_control(Security([AccessRule({BOB}, Rights.READ_WRITE)]))")
    bob("MemoryMappedFile.open_existing('Global\\\\n').create_view_accessor().write_byte(0, 4)")
    assert owner.ask("m.create_view_accessor().read_byte(0)") == 4
    assert owner.ask("[str(rule.identity) for rule in m.get_access_control()]") == ["owner", f"user:{BOB}"]


OTHERS = [
    AccessRule("everyone", Rights.READ),
    AccessRule("group", Rights.WRITE),
    AccessRule("group:0", Rights.READ),
    AccessRule(ALICE, Rights.READ_WRITE),
    AccessRule("everyone", Rights.FULL_CONTROL),
]
NOT_OTHERS = [
    AccessRule("owner", Rights.READ_WRITE),
    AccessRule(UID, Rights.FULL_CONTROL),
    AccessRule("everyone", Rights.READ, DENY),
    AccessRule("everyone", Rights.NONE),
    AccessRule("everyone", Rights.DELETE),
]


@pytest.mark.parametrize("rule", OTHERS, ids=plainly)
@pytest.mark.parametrize("name", ["n", "User\\n", "Local\\n"])
def test_rules_for_others_on_a_users_own_name_are_refused(name: str, rule: AccessRule) -> None:
    security = MemoryMappedFileSecurity([rule])
    for make in (MemoryMappedFile.create_new, MemoryMappedFile.create_or_open):
        with pytest.raises(PermissionError, match=r"'Global\\\\n'"):
            make(name, 10, security=security)
        with pytest.raises(FileNotFoundError):
            MemoryMappedFile.open_existing(name)
    with MemoryMappedFile.create_new(name, 10) as map_:
        with pytest.raises(PermissionError, match=r"'Global\\\\n'"):
            map_.set_access_control(security)
        assert mode_of(map_.path) == 0o600


@pytest.mark.parametrize("rule", NOT_OTHERS, ids=plainly)
@pytest.mark.parametrize("name", ["n", "Local\\n", "Global\\n"])
def test_rules_that_give_others_nothing_are_fine_everywhere(name: str, rule: AccessRule) -> None:
    security = MemoryMappedFileSecurity([rule])
    with MemoryMappedFile.create_new(name, 10, security=security) as map_:
        assert mode_of(map_.path) == 0o600
        map_.set_access_control(security)
        assert mode_of(map_.path) == 0o600


@pytest.mark.parametrize("owner", [UID, str(UID), None])
def test_a_name_has_no_other_owner_than_who_creates_it(owner: str | int | None) -> None:
    MemoryMappedFile.create_new("n", 10, security=MemoryMappedFileSecurity(owner=owner)).close()
    other = MemoryMappedFileSecurity(owner=CAROL)
    for name in ("n", "Global\\n"):
        with pytest.raises(PermissionError, match="belongs to who creates it"):
            MemoryMappedFile.create_new(name, 10, security=other)
        with MemoryMappedFile.create_new(name, 10) as map_:
            with pytest.raises(PermissionError, match="belongs to who creates it"):
                map_.set_access_control(other)
            MemoryMappedFile.open_existing(name).close()


@pytest.mark.parametrize(
    "security",
    [
        MemoryMappedFileSecurity(),
        MemoryMappedFileSecurity.from_mode(0o600),
        MemoryMappedFileSecurity([AccessRule("owner", Rights.READ)]),
        MemoryMappedFileSecurity([AccessRule("owner", Rights.READ_WRITE_EXECUTE)]),
        MemoryMappedFileSecurity([AccessRule("owner", Rights.NONE)]),
        MemoryMappedFileSecurity([AccessRule(UID, Rights.EXECUTE)]),
        MemoryMappedFileSecurity([AccessRule("everyone", Rights.READ)]),
        MemoryMappedFileSecurity([AccessRule(ALICE, Rights.READ)]),
        pytest.param(MemoryMappedFileSecurity([AccessRule(ALICE, Rights.READ)], group=BOB), marks=needs_root),
        pytest.param(MemoryMappedFileSecurity(group=BOB), marks=needs_root),
    ],
    ids=plainly,
)
@pytest.mark.parametrize("access", [a for a in Access if a is not Access.WRITE])
def test_no_access_rule_changes_what_kind_of_map_it_is(
    peer: MakePeer, access: Access, security: MemoryMappedFileSecurity
) -> None:
    """The access that a map was created with is kept in bits of its file's mode."""
    if not has_acl(SHM):
        pytest.skip("this file system keeps no access-control lists")
    with MemoryMappedFile.create_new("Global\\plain", 10, access) as plain:
        expected = views_of("Global\\plain")
        plain.set_access_control(security)
        assert views_of("Global\\plain") == expected
        plain.set_access_control(plain.get_access_control())
        assert views_of("Global\\plain") == expected
        assert plain.name_alive
    with MemoryMappedFile.create_new("Global\\n", 10, access, security=security):
        assert views_of("Global\\n") == expected


def views_of(name: str) -> set[str]:
    """Which views who opens a map can make."""
    found = set()
    with MemoryMappedFile.open_existing(name, Rights.FULL_CONTROL) as map_:
        for access in Access:
            if map_._limits.ways[access] is not None:
                found.add(access.name)
    return found


def test_the_owner_always_reads_and_writes_a_named_map() -> None:
    """The locks by which a name lives need it; a map without would be there, and nobody could open it."""
    with MemoryMappedFile.create_new("n", 10) as map_:
        map_.set_access_control(MemoryMappedFileSecurity([AccessRule("owner", Rights.READ)]))
        assert map_.get_access_control().get_access_rules() == [AccessRule("owner", Rights.READ_WRITE)]
        MemoryMappedFile.open_existing("n").close()


def test_unnamed_memory_has_access_rules_too() -> None:
    security = MemoryMappedFileSecurity.from_mode(0o640)
    with MemoryMappedFile.create_new(None, 10, security=security) as map_:
        assert map_.get_access_control().mode == 0o640
        map_.set_access_control(MemoryMappedFileSecurity.from_mode(0o400))
        assert stat.S_IMODE(os.fstat(map_.fileno()).st_mode) == 0o400


# ------------------------------------------------------------------------------------------------ refusals


def test_set_access_control_wants_a_security_and_an_open_map() -> None:
    map_ = MemoryMappedFile.create_new("n", 10)
    for wrong in (None, 0o600, AccessRule("everyone", Rights.READ), "everyone"):
        with pytest.raises(TypeError):
            map_.set_access_control(wrong)  # type: ignore[arg-type]
    map_.close()
    with pytest.raises(TypeError):
        map_.set_access_control(None)  # type: ignore[arg-type]
    with pytest.raises(ClosedError):
        map_.set_access_control(MemoryMappedFileSecurity())
    with pytest.raises(ClosedError):
        map_.get_access_control()


@pytest.mark.parametrize("wrong", [0o600, "everyone", AccessRule("everyone", Rights.READ), []])
def test_security_is_a_security(wrong: object, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    for make in (
        lambda: MemoryMappedFile.create_new("n", 10, security=wrong),  # type: ignore[arg-type]
        lambda: MemoryMappedFile.create_or_open("n", 10, security=wrong),  # type: ignore[arg-type]
        lambda: MemoryMappedFile.create_new(None, 10, security=wrong),  # type: ignore[arg-type]
        lambda: MemoryMappedFile.create_from_file(tmp_path / "file", capacity=10, security=wrong),  # type: ignore[call-overload]
        lambda: MemoryMappedFile.create_from_file(tmp_path / "new", FileMode.CREATE, None, 10, security=wrong),  # type: ignore[call-overload]
    ):
        with pytest.raises(TypeError, match="MemoryMappedFileSecurity"):
            make()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").stat().st_size == 4
    with pytest.raises(FileNotFoundError):
        MemoryMappedFile.open_existing("n")


@needs_root
def test_who_may_not_change_the_rules_changes_nothing(peer: MakePeer, folder: Path) -> None:
    file = folder / "file"
    file.write_bytes(b"1234")
    file.chmod(0o666)
    alice = peer(uid=ALICE)
    alice(f"m = MemoryMappedFile.create_from_file({str(file)!r})")
    for security in ("Security()", "Security.from_mode(0o777)", f"Security(owner={ALICE})", f"Security(group={ALICE})"):
        assert alice.refusal(f"m.set_access_control({security})").is_a(PermissionError)
    assert mode_of(file) == 0o666
    create = f"MemoryMappedFile.create_new('Global\\\\n', 10, security=Security(group={BOB}))"
    assert alice.refusal(create).is_a(PermissionError)
    assert alice.refusal("MemoryMappedFile.open_existing('Global\\\\n')").is_a(FileNotFoundError)
