"""Who may talk: anyone, counted; a key where the operator asks for one."""

import pytest

from api.access.accounts import Scope
from api.chat.errors import Close
from api.chat.protocol import Kind
from tests.api.chat.conftest import Client, Staged
from tests.api.chat.test_session import seated
from tests.api.conftest import bearer


def refusal(client: Client) -> str:
    """What a refused client is told before the connection is closed."""
    client.until_closed()
    (message,) = client.of(Kind.ERROR)
    assert client.close_code == Close.POLICY and not client.seated
    return message.decode()


def test_anyone_may_talk_by_default(staged: Staged) -> None:
    """The published clients send no header."""
    with staged() as stage, stage.client() as client:
        client.listen(seated)


def test_a_key_with_the_scope_to_generate_is_asked_for_where_the_operator_wants_it(staged: Staged) -> None:
    with staged(chat_needs_key=True) as stage:
        with stage.client() as client:
            assert "key" in refusal(client)
        keys = {scope: stage.service.accounts.create("test", {scope}).text for scope in Scope}
        with stage.client(additional_headers=bearer(keys[Scope.MARK])) as client:
            assert "generate" in refusal(client)
        with stage.client(additional_headers=bearer(keys[Scope.GENERATE])) as client:
            client.listen(seated)
        assert len(stage.generations()) == 1, "a refused client leaves no generation"


@pytest.mark.parametrize("header", ["Bearer nonsense", "Basic YTpi", "Bearer"])
def test_a_wrong_key_is_refused_also_where_none_is_needed(staged: Staged, header: str) -> None:
    """A typing error must not go unnoticed."""
    with staged() as stage, stage.client(additional_headers={"Authorization": header}) as client:
        assert refusal(client)


def test_connections_are_counted_as_requests_are(staged: Staged) -> None:
    """One address cannot keep the line full by coming again and again."""
    with staged(requests_per_minute_address=2) as stage:
        for _ in range(2):
            with stage.client() as client:
                client.listen(seated)
        with stage.client() as client:
            assert "minute" in refusal(client)
