# SPDX-License-Identifier: MIT
"""Access rules as the access-control lists of Windows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.leftovers import unique

from memorymapped import AccessControlType, AccessRule, FileMode, MemoryMappedFile, MemoryMappedFileSecurity
from memorymapped import MemoryMappedFileAccess as Access
from memorymapped import MemoryMappedFileRights as Rights
from memorymapped._native.access_lists import account_of, own_sids

DENY = AccessControlType.DENY
USERS, SYSTEM = "S-1-5-32-545", "S-1-5-18"
Map, Security = MemoryMappedFile, MemoryMappedFileSecurity


@pytest.fixture(params=["", "Local\\", "Global\\"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param + unique()


def test_what_a_map_gets_is_what_it_says(name: str) -> None:
    security = Security(
        [
            AccessRule("owner", Rights.FULL_CONTROL),
            AccessRule("BUILTIN\\Users", Rights.READ | Rights.DELETE),
            AccessRule(f"user:{SYSTEM}", Rights.READ_WRITE_EXECUTE),
            AccessRule("everyone", Rights.WRITE, DENY),
        ]
    )
    me, group = own_sids()
    with Map.create_new(name, 10, security=security) as map_:
        for holder in (map_, Map.open_existing(name, Rights.READ)):
            said = holder.get_access_control()
            assert (said.owner, said.group) == (me, group)
            assert list(said) == [
                AccessRule("everyone", Rights.WRITE, DENY),  # what denies is first
                AccessRule("owner", Rights.FULL_CONTROL),
                AccessRule(f"group:{USERS}", Rights.READ | Rights.DELETE),
                AccessRule(f"{'user' if account_of(SYSTEM) == ('SYSTEM', True) else 'group'}:{SYSTEM}", Rights(0xE)),
            ]
            holder.set_access_control(said)
            assert list(holder.get_access_control()) == list(said)
            if holder is not map_:
                holder.close()


def test_a_denial_wins_over_every_permission(name: str) -> None:
    security = Security([AccessRule("owner", Rights.FULL_CONTROL), AccessRule("everyone", Rights.WRITE, DENY)])
    with Map.create_new(name, 10, security=security) as map_:
        map_.create_view_accessor().close()  # who made it has all rights
        with pytest.raises(PermissionError):
            Map.open_existing(name)
        with pytest.raises(PermissionError):
            Map.create_or_open(name, 10)
        Map.open_existing(name, Rights.READ).close()
        map_.set_access_control(Security([AccessRule(os.environ["USERNAME"], Rights.READ_WRITE)]))
        Map.open_existing(name).close()


def test_without_rules_only_the_owner_reads_and_writes(name: str) -> None:
    with Map.create_new(name, 10, security=Security()) as map_:
        assert list(map_.get_access_control()) == [AccessRule("owner", Rights.READ_WRITE)]
        assert map_.get_access_control().mode == 0o600


def test_unnamed_memory_and_a_map_of_an_existing_name(name: str) -> None:
    everyone = Security([AccessRule("everyone", Rights.READ)])
    with Map.create_new(None, 10, security=everyone) as map_:
        assert map_.get_access_control().mode == 0o604
        map_.set_access_control(Security.from_mode(0o640))
        assert map_.get_access_control().mode == 0o640
    with Map.create_new(name, 10, security=everyone), Map.create_or_open(name, 10, security=Security()) as again:
        assert again.get_access_control().mode == 0o604


def test_a_file_that_the_call_makes_and_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    everyone = Security([AccessRule("owner", Rights.FULL_CONTROL), AccessRule("everyone", Rights.READ)])
    with Map.create_from_file(path, FileMode.CREATE_NEW, name, 10, security=everyone) as map_:
        rules = {rule.identity: rule.rights for rule in map_.get_access_control()}
        assert rules["owner"] == Rights.FULL_CONTROL
        assert rules["everyone"] & Rights.READ_WRITE == Rights.READ  # Wine says so by a mode, which is less exact
        with pytest.raises(PermissionError):  # the section of that name has them as well
            Map.open_existing(name, Rights.WRITE | Rights.EXECUTE | Rights.DELETE | Rights.ACCESS_SYSTEM_SECURITY)
    with Map.create_from_file(path, access=Access.READ, security=Security()) as map_:  # it keeps its own
        assert not map_.get_access_control().mode & 0o002
        assert map_.get_access_control().mode & 0o004
    with path.open("r+b") as file:
        assert Security.of(file.fileno()).mode & 0o006 == 0o004


def test_sddl() -> None:
    me, group = own_sids()
    security = Security([AccessRule("everyone", Rights.READ), AccessRule("owner", Rights.WRITE, DENY)])
    security.set_access_rule(AccessRule("owner", Rights.FULL_CONTROL))
    sddl = f"O:{me}G:{group}D:P(D;;0x2;;;{me})(A;;0x4;;;S-1-1-0)(A;;0xf000f;;;{me})"
    assert security.get_security_descriptor_sddl_form() == sddl
    other = Security()
    other.set_security_descriptor_sddl_form(sddl)
    assert (other.owner, other.group) == (me, group)
    assert other.get_security_descriptor_sddl_form() == sddl
    other.set_security_descriptor_sddl_form("O:BAG:SYD:(A;;GA;;;WD)(D;;0x4;;;BU)")
    assert (other.owner, other.group) == ("S-1-5-32-544", SYSTEM)
    assert list(other) == [AccessRule("everyone", Rights.FULL_CONTROL), AccessRule(f"group:{USERS}", Rights.READ, DENY)]
    for wrong in ("nonsense", "D:(A;;XX;;;WD)"):
        with pytest.raises(ValueError, match="SDDL"):
            other.set_security_descriptor_sddl_form(wrong)


def test_nobody_that_there_is(name: str) -> None:
    for security in (Security([AccessRule("nobody-has-this-name", Rights.READ)]), Security(owner=1000)):
        with pytest.raises(ValueError, match="there is no user"):
            Map.create_new(name, 10, security=security)
    with pytest.raises(FileNotFoundError):
        Map.open_existing(name)
