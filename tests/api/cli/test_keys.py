"""`earmark keys`: the key once, on standard output alone; and a list that helps to find the one to revoke."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from api.access.accounts import Accounts
from api.access.key_text import check_key_text
from api.access.secret import ServerSecret
from api.cli.main import main
from api.errors import InvalidKey
from registry import Registry

Earmark = Callable[..., tuple[int, str, str]]


@pytest.fixture
def earmark(tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]) -> Earmark:
    common = ["--data-dir", str(tmp_path / "data"), "--database-url", database_url]

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*common, *words])
        return (code, *capsys.readouterr())

    return run


def test_a_key_is_made_listed_used_and_revoked(earmark: Earmark, tmp_path: Path, database_url: str) -> None:
    assert "there is no key yet" in earmark("keys", "list")[1]
    code, out, err = earmark("keys", "create", "podcast tool", "--scope", "mark", "--expires-in-days", "30")
    assert (code, err) == (0, "")
    key = check_key_text(out.strip())

    secret = ServerSecret.load_or_create(tmp_path / "data" / "keys" / "server.secret")
    with Registry.open(database_url) as registry:
        accounts = Accounts(registry.keys, secret)
        key_id = accounts.identify(key).key_id
        (listed,) = json.loads(earmark("keys", "list", "--json")[1])
        assert (listed["key_id"], listed["label"], listed["scopes"]) == (key_id, "podcast tool", ["mark"])
        assert listed["last_used_at"] is not None
        line = earmark("keys", "list")[1]
        assert key_id in line and "until " in line and "podcast tool" in line
        assert key not in line
        assert earmark("keys", "revoke", key_id)[0] == 0
        assert "revoked" in earmark("keys", "list")[1]
        with pytest.raises(InvalidKey):
            accounts.identify(key)


def test_mistakes_are_one_sentence(earmark: Earmark) -> None:
    code, out, err = earmark("keys", "revoke", "ffffffff")
    assert (code, out) == (1, "")
    assert "earmark keys list" in err and len(err.splitlines()) == 1
    code, out, err = earmark("keys", "create", "", "--scope", "mark")
    assert (code, out) == (1, "")
    assert "label" in err
    with pytest.raises(SystemExit) as stopped:
        earmark("keys", "create", "x", "--scope", "admin")
    assert stopped.value.code == 2
