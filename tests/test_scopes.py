# SPDX-License-Identifier: MIT
r"""The scopes of names: `X` and `User\X` are one user's, `Local\X` one session's, `Global\X` every user's as its rules
allow. The tests with several users act as users who need no account."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peers import Peer, needs_root, peers
from root import SHM

ALICE, BOB, CAROL = 65532, 65533, 65534

MakePeer = Callable[..., Peer]


@pytest.fixture
def root() -> Iterator[Path]:
    """A root that every user may write to."""
    root = Path(tempfile.mkdtemp(prefix="memorymapped-tests-root-", dir=SHM))
    root.chmod(0o1777)
    yield root
    shutil.rmtree(root)


@pytest.fixture
def peer(run: Callable[..., subprocess.Popen[str]], root: Path) -> Iterator[MakePeer]:
    with peers(run, root=root) as make:
        yield make


CREATE = "m = MemoryMappedFile.create_new({!r}, 10, security={}); v = m.create_view_accessor(); v.write_byte(0, {})"


def created(peer: Peer, name: str, value: int, *rules: str) -> None:
    """Has a map made whose first byte is `value`, with access rules for others."""
    peer(CREATE.format(name, f"Security([{', '.join(rules)}])" if rules else "None", value))


def first_byte(peer: Peer, name: str, rights: str = "READ_WRITE", access: str = "READ") -> object:
    return peer.ask(
        f"MemoryMappedFile.open_existing({name!r}, Rights.{rights}).create_view_accessor(0, 0, Access.{access})"
        ".read_byte(0)"
    )


# -------------------------------------------------------------------------------------------------------- user, session


def test_a_bare_name_is_the_users() -> None:
    from memorymapped import MemoryMappedFile, NameInUseError

    with MemoryMappedFile.create_new("n", 10) as map_, MemoryMappedFile.open_existing("User\\n") as same:
        assert same.generation == map_.generation
        assert (map_.name, same.name) == ("n", "User\\n")
        with pytest.raises(NameInUseError):
            MemoryMappedFile.create_new("User\\n", 10)


def test_one_text_in_three_scopes_is_three_maps(peer: MakePeer) -> None:
    one, other = peer(), peer()
    names = ("n", "Local\\n", "Global\\n")
    for i, name in enumerate(names):
        assert other.refusal(f"MemoryMappedFile.open_existing({name!r})").is_a(FileNotFoundError)
        one(f"m{i} = MemoryMappedFile.create_new({name!r}, 10); m{i}.create_view_accessor().write_byte(0, {i})")
    assert [first_byte(other, name) for name in names] == [0, 1, 2]
    one("m1.close()")
    assert other.refusal("MemoryMappedFile.open_existing('Local\\\\n')").is_a(FileNotFoundError)
    assert first_byte(other, "n") == 0
    assert first_byte(other, "Global\\n") == 2


def test_another_session_has_its_own_local_names(peer: MakePeer) -> None:
    here, there, there_too = peer(), peer(start_new_session=True), peer()
    here("bare = MemoryMappedFile.create_new('n', 10); bare.create_view_accessor().write_byte(0, 3)")
    created(here, "Local\\n", 1)
    assert there.refusal("MemoryMappedFile.open_existing('Local\\\\n')").is_a(FileNotFoundError)
    created(there, "Local\\n", 2)
    assert first_byte(here, "Local\\n") == 1
    assert first_byte(there, "Local\\n") == 2
    assert first_byte(there, "n") == 3
    assert there.ask("m.generation") != here.ask("m.generation")
    there_too("os.setsid()")  # a session of its own, from now on
    assert there_too.refusal("MemoryMappedFile.open_existing('Local\\\\n')").is_a(FileNotFoundError)
    assert first_byte(there_too, "n") == 3


def test_a_process_that_changes_its_session_keeps_what_it_holds(peer: MakePeer) -> None:
    moving, here = peer(), peer()
    created(moving, "Local\\n", 1)
    moving("os.setsid()")
    assert moving.ask("(m.name_alive, v.read_byte(0))") == (True, 1)
    assert first_byte(here, "Local\\n") == 1
    created_there = "o = MemoryMappedFile.create_new('Local\\\\n', 20)"
    moving(created_there)
    assert moving.ask("MemoryMappedFile.open_existing('Local\\\\n').capacity") == 20
    moving("m.close()")
    assert here.refusal("MemoryMappedFile.open_existing('Local\\\\n')").is_a(FileNotFoundError)
    assert moving.ask("o.name_alive")


def test_the_file_of_a_local_name_tells_session_and_pid_namespace(peer: MakePeer, root: Path) -> None:
    here = peer(start_new_session=True)
    created(here, "Local\\n", 1)
    namespace = os.stat("/proc/self/ns/pid").st_ino
    assert here.ask("m.path") == f"{root}/memorymapped-{os.geteuid()}/n@{here.pid}.{namespace}.map"


# -------------------------------------------------------------------------------------------------------- several users


@needs_root
def test_each_user_has_names_of_its_own_that_no_other_can_reach(peer: MakePeer, root: Path) -> None:
    alice, bob = peer(uid=ALICE), peer(uid=BOB)
    for name in ("n", "Local\\n"):
        created(alice, name, 1)
        path = alice.ask("m.path")
        assert bob.refusal(f"MemoryMappedFile.open_existing({name!r})").is_a(FileNotFoundError)
        assert bob.refusal(f"open({path!r}, 'rb')").is_a(PermissionError)
        assert bob.refusal(f"os.listdir({os.path.dirname(path)!r})").is_a(PermissionError)
        assert bob.refusal(f"os.stat({path!r})").is_a(PermissionError)
        created(bob, name, 2)
        assert bob.ask("m.generation") != alice.ask("m.generation")
        assert (first_byte(alice, name), first_byte(bob, name)) == (1, 2)
        assert os.stat(path).st_uid == ALICE


@needs_root
def test_a_process_that_becomes_another_user_has_that_users_names(peer: MakePeer) -> None:
    alice = peer(uid=ALICE)
    created(alice, "n", 1)
    changing = peer()
    created(changing, "n", 9)
    changing(f"import json, hashlib, base64; os.seteuid({ALICE})")
    assert first_byte(changing, "n") == 1
    changing("os.seteuid(0)")
    assert first_byte(changing, "n") == 9


@needs_root
def test_a_global_map_is_its_creators_alone_by_default(peer: MakePeer, root: Path) -> None:
    alice, bob = peer(uid=ALICE), peer(uid=BOB)
    created(alice, "Global\\n", 1)
    path = alice.ask("m.path")
    assert path == f"{root}/memorymapped-global/n~{ALICE}.map"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert bob.refusal("MemoryMappedFile.create_new('Global\\\\n', 10)").is_a(FileExistsError)
    for call in ("open_existing('Global\\\\n')", "open_existing('Global\\\\n', Rights.READ)",
                 "create_or_open('Global\\\\n', 10)"):  # fmt: skip
        refusal = bob.refusal(f"MemoryMappedFile.{call}")
        assert refusal.is_a(PermissionError)
        assert f"belongs to user {ALICE}" in refusal.message
    assert bob.refusal(f"open({path!r}, 'rb')").is_a(PermissionError)
    assert bob.refusal(f"os.unlink({path!r})").is_a(PermissionError)
    assert first_byte(alice, "Global\\n") == 1
    alice("m.close()")
    created(bob, "Global\\n", 2)
    assert alice.refusal("MemoryMappedFile.open_existing('Global\\\\n')").is_a(PermissionError)


@needs_root
@pytest.mark.parametrize("name", ["Global\\n", "Global\\" + "n" * 300])
def test_a_global_map_for_everyone_is_held_by_everyone(peer: MakePeer, name: str) -> None:
    alice, bob, carol = peer(uid=ALICE), peer(uid=BOB), peer(uid=CAROL)
    created(alice, name, 1, "AccessRule('everyone', Rights.READ_WRITE)")
    bob(f"m = MemoryMappedFile.open_existing({name!r}); v = m.create_view_accessor()")
    assert bob.ask("v.read_byte(0)") == 1
    bob("v.write_byte(0, 2); m.resize(20)")
    assert alice.ask("(v.read_byte(0), m.capacity)") == (2, 20)
    alice("m.close()")
    assert first_byte(carol, name) == 2  # Bob holds it, though it was Alice's
    refusal = carol.refusal(f"MemoryMappedFile.create_new({name!r}, 10)")
    assert refusal.is_a(FileExistsError)
    alice(f"m = MemoryMappedFile.open_existing({name!r})")
    bob("m.close()")
    assert alice.ask("m.name_alive")
    bob(f"m = MemoryMappedFile.create_or_open({name!r}, 5)")
    assert bob.ask("m.capacity") == 20
    alice("m.close()")
    bob("m.close()")  # the last holder, who may not remove Alice's file
    for other in (alice, bob, carol):
        assert other.refusal(f"MemoryMappedFile.open_existing({name!r})").is_a(FileNotFoundError)


@needs_root
def test_a_rule_for_reading_lets_others_read_only(peer: MakePeer) -> None:
    alice, bob = peer(uid=ALICE), peer(uid=BOB)
    created(alice, "Global\\n", 1, "AccessRule('everyone', Rights.READ)")
    assert bob.refusal("MemoryMappedFile.open_existing('Global\\\\n')").is_a(PermissionError)
    assert bob.refusal("MemoryMappedFile.open_existing('Global\\\\n', Rights.WRITE)").is_a(PermissionError)
    bob("m = MemoryMappedFile.open_existing('Global\\\\n', Rights.READ)")
    assert bob.ask("m.create_view_accessor(0, 0, Access.READ).read_byte(0)") == 1
    bob("c = m.create_view_accessor(0, 0, Access.COPY_ON_WRITE); c.write_byte(0, 7)")
    assert bob.refusal("m.create_view_accessor()").is_a(PermissionError)
    assert bob.refusal("m.resize(100)").is_a(PermissionError)
    assert bob.refusal("os.ftruncate(m.fileno(), 0)").is_a(OSError)
    assert alice.ask("v.read_byte(0)") == 1
    assert bob.refusal("m.set_access_control(Security.from_mode(0o666))").is_a(PermissionError)
    alice("m.close()")
    assert bob.ask("m.name_alive")  # a reader holds as well as a writer
    assert alice.refusal("MemoryMappedFile.create_new('Global\\\\n', 10)").is_a(FileExistsError)
    bob("m.close()")
    created(alice, "Global\\n", 3)


@needs_root
def test_what_a_dead_user_left_blocks_nobody(peer: MakePeer, root: Path) -> None:
    folder = root / "memorymapped-global"
    alice, bob = peer(uid=ALICE), peer(uid=BOB)
    for name in ("Global\\n", "Global\\" + "n" * 300):
        created(alice, name, 1)
        alice(f"kept{len(name)} = m")
    alice.kill()
    for name in ("Global\\n", "Global\\" + "n" * 300):
        assert bob.refusal(f"MemoryMappedFile.open_existing({name!r})").is_a(FileNotFoundError)
        created(bob, name, 2, "AccessRule('everyone', Rights.READ_WRITE)")
        bob(f"kept{len(name)} = m")
    assert len(list(folder.glob("n*.map"))) == 4  # only Alice or root can remove Alice's
    alice = peer(uid=ALICE)
    for name in ("Global\\n", "Global\\" + "n" * 300):
        assert first_byte(alice, name) == 2  # the live one, although there is a file of her own
        assert alice.refusal(f"MemoryMappedFile.create_new({name!r}, 10)").is_a(FileExistsError)
    bob.end()
    created(alice, "Global\\n", 3)
    alice("from memorymapped.system import sweep; sweep()")
    assert sorted(path.name for path in folder.iterdir()) == [".gate", f"n~{ALICE}.map"]


@needs_root
def test_root_removes_what_any_user_left(peer: MakePeer, root: Path) -> None:
    alice, keeper = peer(uid=ALICE), peer()
    created(alice, "Global\\n", 1)
    assert first_byte(keeper, "Global\\n") == 1
    alice.kill()
    assert keeper.refusal("MemoryMappedFile.open_existing('Global\\\\n')").is_a(FileNotFoundError)
    assert [path.name for path in (root / "memorymapped-global").iterdir()] == [".gate"]


@needs_root
def test_a_file_that_one_user_made_in_anothers_name_is_no_map(peer: MakePeer, root: Path) -> None:
    alice, bob, carol = peer(uid=ALICE), peer(uid=BOB), peer(uid=CAROL)
    created(alice, "Global\\warm", 1)
    planted = root / "memorymapped-global" / f"n~{ALICE}.map"
    bob(f"import fcntl, struct; f = open({str(planted)!r}, 'x+b'); os.fchmod(f.fileno(), 0o666); f.write(b'planted')")
    bob("f.flush(); fcntl.fcntl(f, 37, struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, 1 << 62, 1, 0))")  # as a holder would
    assert carol.refusal("MemoryMappedFile.open_existing('Global\\\\n')").is_a(FileNotFoundError)
    refusal = alice.refusal("MemoryMappedFile.create_new('Global\\\\n', 10)")
    assert "ForeignObjectError" in refusal.names
    created(carol, "Global\\n", 3, "AccessRule('everyone', Rights.READ)")
    assert first_byte(bob, "Global\\n", "READ") == 3
    assert first_byte(alice, "Global\\n", "READ") == 3
    assert planted.read_bytes() == b"planted"


def test_file_names_of_others_do_no_harm(peer: MakePeer, root: Path) -> None:
    here = peer()
    created(here, "Global\\warm", 1)
    folder = root / "memorymapped-global"
    planted = ["n~.map", "n~x.map", "n~\u00b2.map", "n~-1.map", "n~99999999999999999999999.map", "n~1~2.map", "n.map",
               "n~", "~.map", "\udcff~1.map", f"n~00{os.geteuid()}.map"]  # fmt: skip
    for name in planted:
        (folder / name).write_bytes(b"")
    created(here, "Global\\n", 5)
    assert first_byte(here, "Global\\n") == 5
    here("m.close(); from memorymapped.system import sweep; sweep()")
    assert here.refusal("MemoryMappedFile.open_existing('Global\\\\n')").is_a(FileNotFoundError)


@needs_root
def test_a_file_map_under_a_global_name_is_opened_with_the_openers_own_rights(
    peer: MakePeer, root: Path, tmp_path: Path
) -> None:
    folder = root / "files"
    folder.mkdir()
    folder.chmod(0o755)
    for mode, others in ((0o666, "READ_WRITE"), (0o644, "READ"), (0o600, "")):
        file = folder / f"{mode:o}"
        file.write_bytes(b"\1" * 10)
        file.chmod(mode)
        os.chown(file, ALICE, ALICE)
        alice, bob = peer(uid=ALICE), peer(uid=BOB)
        alice(f"m = MemoryMappedFile.create_from_file({str(file)!r}, map_name='Global\\\\f')")
        if others == "READ_WRITE":
            bob("m = MemoryMappedFile.open_existing('Global\\\\f'); m.create_view_accessor().write_byte(0, 2)")
            assert file.read_bytes()[0] == 2
            bob("m.close()")
        else:
            assert bob.refusal("MemoryMappedFile.open_existing('Global\\\\f')").is_a(PermissionError)
        if others:
            assert first_byte(bob, "Global\\f", "READ") == (2 if others == "READ_WRITE" else 1)
        else:
            assert bob.refusal("MemoryMappedFile.open_existing('Global\\\\f', Rights.READ)").is_a(PermissionError)
        assert alice.ask("m.name_alive")
        alice.end()
        bob.end()
        assert not list((root / "memorymapped-global").glob("f*"))


# ------------------------------------------------------------------------------------------------------------- the gate


def test_a_gate_that_somebody_keeps_ends_in_a_time_out_not_in_a_hang(peer: MakePeer, root: Path) -> None:
    here = peer()
    here("from memorymapped.system.linux import objects; objects.LIMIT = 0.2; objects.CLOSE_LIMIT = 0.2")
    created(here, "Global\\n", 1)
    with open(root / "memorymapped-global" / ".gate") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        for call in (
            "create_new('Global\\\\o', 10)",
            "open_existing('Global\\\\n')",
            "create_or_open('Global\\\\n', 1)",
        ):
            assert here.refusal(f"MemoryMappedFile.{call}").is_a(TimeoutError)
        here("MemoryMappedFile.create_new('o', 10).close()")  # the user's own names do not care
        here("m.close()")
    assert here.refusal("MemoryMappedFile.open_existing('Global\\\\n')").is_a(FileNotFoundError)


def test_who_waits_at_the_gate_goes_on_when_it_opens(peer: MakePeer, root: Path) -> None:
    here = peer()
    here("MemoryMappedFile.create_new('Global\\\\warm', 1).close()")
    with open(root / "memorymapped-global" / ".gate") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        here.tell("run", "m = MemoryMappedFile.create_new('Global\\\\n', 10)")
    assert here.answer() is None


def test_the_gate_is_for_all_whoever_made_it_and_comes_again(peer: MakePeer, root: Path) -> None:
    here = peer()
    here("os.umask(0o077)")
    created(here, "Global\\n", 1)
    gate = root / "memorymapped-global" / ".gate"
    for _ in range(2):
        assert stat.S_IMODE(gate.stat().st_mode) == 0o666
        gate.unlink()
        assert first_byte(here, "Global\\n") == 1
    gate.unlink()
    here("m.close()")
    assert [path.name for path in gate.parent.iterdir()] == [".gate"]


@pytest.mark.parametrize("kind", ["symlink", "folder", "fifo"])
def test_a_gate_that_is_none_is_refused(peer: MakePeer, root: Path, kind: str) -> None:
    here = peer()
    here("MemoryMappedFile.create_new('Global\\\\warm', 1).close()")
    gate = root / "memorymapped-global" / ".gate"
    gate.unlink()
    if kind == "symlink":
        (root / "victim").write_bytes(b"victim")
        (root / "victim").chmod(0o600)
        gate.symlink_to(root / "victim")
    elif kind == "folder":
        gate.mkdir()
    else:
        os.mkfifo(gate)
    for call in ("create_new('Global\\\\n', 10)", "open_existing('Global\\\\n')"):
        refusal = here.refusal(f"MemoryMappedFile.{call}")
        assert "ForeignObjectError" in refusal.names
        assert ".gate" in refusal.message
    if kind == "symlink":
        assert stat.S_IMODE((root / "victim").stat().st_mode) == 0o600


@needs_root
def test_what_another_user_has_left_is_left(peer: MakePeer, root: Path) -> None:
    tools = "from memorymapped.system.survey import remove, survey, why_left\n"
    alice, bob = peer(uid=ALICE), peer(uid=BOB, before=tools)
    created(alice, "Global\\n", 1, "AccessRule('everyone', Rights.READ)")
    alice.kill()
    bob("(each,) = [each for each in survey() if each.kind == 'map']")
    assert bob.ask("each.name, each.state") == ("Global\\n", "stale")
    assert bob.ask("why_left(each)") == bob.ask("remove(each)") == f"it belongs to user {ALICE}"
    assert bob.ask("each.is_there()")
