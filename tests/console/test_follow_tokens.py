"""Follow tokens: each for one website and for a time, by whichever key signed it."""

import pytest

from ops.console.access.follow_tokens import MAX_SECONDS, FollowTokens
from ops.console.access.sessions import sign
from ops.console.access.settings import ConsoleSettings
from ops.errors import InvalidInputError

KEY, OLD, NEW = ("-".join((name, "key", "k" * 24)) for name in ("first", "older", "newer"))


def test_a_customers_token_expires_and_keys_rotate() -> None:
    """Valid until its second, with the key that signed it among those that are set."""
    now = [1000.0]
    old = FollowTokens(ConsoleSettings(follow_secrets=OLD), lambda: now[0])
    token, expires = old.issue(7, 60)
    both = FollowTokens(ConsoleSettings(follow_secrets=f"{NEW},{OLD}"), lambda: now[0])
    new = FollowTokens(ConsoleSettings(follow_secrets=NEW), lambda: now[0])
    assert (expires, both.is_valid(token, 7), new.is_valid(token, 7), both.is_valid(token, 70)) == (
        1060,
        True,
        False,
        False,
    )
    now[0] = 1060
    assert not both.is_valid(token, 7)


def test_nothing_else_is_a_token() -> None:
    """Not what nobody signed, nor what was signed for something else, nor a token of which a letter is another."""
    tokens = FollowTokens(ConsoleSettings(follow_secrets=KEY))
    token, _ = tokens.issue(7, 60)
    session = sign("7", KEY.encode())
    middle = len(token) // 2
    altered = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]
    for wrong in ("", ".", "7.9.x", "é", "\0", "W10", session, altered, token[:-1], f"{token}.", "9" * 5000):
        assert not tokens.is_valid(wrong, 7), wrong
    assert tokens.is_valid(token, 7)


def test_without_a_key_there_are_none() -> None:
    """None is made, and none is valid; nor is one made for longer than a month, or for no time at all."""
    without = FollowTokens(ConsoleSettings())
    token, _ = FollowTokens(ConsoleSettings(follow_secrets=KEY)).issue(7, 60)
    assert not without.is_valid(token, 7)
    with pytest.raises(InvalidInputError, match="FOLLOW_SECRETS"):
        without.issue(7, 60)
    for seconds in (0, MAX_SECONDS + 1):
        with pytest.raises(InvalidInputError, match="seconds: must be 1 to 2592000"):
            FollowTokens(ConsoleSettings(follow_secrets=KEY)).issue(7, seconds)
