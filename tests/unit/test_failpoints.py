"""Places where a test makes the process die, raise or wait: they act when they should, once, and are counted."""

import asyncio
import os
import signal

import pytest

from consumer import failpoints
from consumer.failpoints import NAMES, InjectedError, arm, hits, reach, watched


@pytest.fixture(autouse=True)
def _disarmed():
    arm("")
    yield
    arm("")


@pytest.fixture
def signals(monkeypatch):
    """The signals that the process sent itself, none of which arrived."""
    sent = []
    monkeypatch.setattr(failpoints.os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


@pytest.mark.parametrize("name", NAMES)
async def test_unarmed_they_do_nothing(name):
    """No action, and not even a count."""
    await reach(name)
    assert hits == {}


@pytest.mark.parametrize("name", NAMES)
async def test_each_name_can_be_armed(name):
    """The set is closed, and every member works."""
    arm(f"{name}=raise")
    with pytest.raises(InjectedError, match=name):
        await reach(name)
    assert hits == {name: 1}


async def test_one_acts_at_the_nth_time():
    """Not before, and every time is counted."""
    arm("locked=raise@3")
    await reach("locked")
    await reach("locked")
    with pytest.raises(InjectedError):
        await reach("locked")
    assert hits == {"locked": 3}


async def test_a_raise_stays():
    """A defect is still there the next time."""
    arm("step=raise@2")
    await reach("step")
    for _ in range(3):
        with pytest.raises(InjectedError):
            await reach("step")


async def test_death_comes_once(signals):
    """At its time, by SIGKILL, and not again."""
    arm("post_commit=kill9@2")
    for _ in range(4):
        await reach("post_commit")
    assert signals == [(os.getpid(), signal.SIGKILL)]
    assert hits == {"post_commit": 4}


async def test_a_stop_freezes_the_process(signals):
    """By SIGSTOP, from outside as if the machine had paused."""
    arm("acked=stop")
    await reach("acked")
    assert signals == [(os.getpid(), signal.SIGSTOP)]


async def test_a_hang_lasts_until_it_is_cancelled():
    """It waits for ever, and a cancellation ends it."""
    arm("written=hang")
    hanging = asyncio.ensure_future(reach("written"))
    await asyncio.wait([hanging], timeout=0)
    assert hits == {"written": 1}
    assert not hanging.done()
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging


async def test_a_cancel_strikes_the_task_that_stands_there():
    """As a shutdown would."""
    arm("judged=cancel")
    with pytest.raises(asyncio.CancelledError):
        await asyncio.ensure_future(reach("judged"))


async def test_others_are_not_touched():
    """Only what is armed acts."""
    arm("locked=raise")
    await reach("planned")
    assert hits == {}


async def test_several_can_be_armed():
    """Separated by commas, blanks do not matter."""
    arm(" locked=raise , planned=raise@2 ,")
    with pytest.raises(InjectedError):
        await reach("locked")
    await reach("planned")
    with pytest.raises(InjectedError):
        await reach("planned")


async def test_arming_anew_forgets_what_was():
    """Actions and counts both."""
    arm("locked=raise")
    with pytest.raises(InjectedError):
        await reach("locked")
    arm("planned=raise")
    await reach("locked")
    assert hits == {}


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("typo=raise", "unknown failpoint 'typo'"),
        ("locked", "unknown action ''"),
        ("locked=explode", "unknown action 'explode'"),
        ("locked=raise@soon", "soon"),
    ],
)
def test_what_cannot_be_armed_is_named(text, fragment):
    """A fault test with a typing error fails, it does not prove nothing."""
    with pytest.raises(ValueError, match=fragment):
        arm(text)


@pytest.mark.parametrize("text", ["locked=kill9@0", "locked=kill9@-1"])
def test_a_count_that_is_never_reached_is_refused(text):
    """It would be counted and never act."""
    with pytest.raises(ValueError, match="locked"):
        arm(text)


async def two_pauses(answer):
    """Suspend twice, then answer."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return answer


async def test_an_unarmed_watch_is_the_work_itself():
    """It costs nothing where nobody looks."""
    work = two_pauses("done")
    assert watched(work) is work
    assert await work == "done"


async def test_a_watch_counts_every_suspension():
    """And hands the result on."""
    arm("await=kill9@1000")
    assert await watched(two_pauses("done")) == "done"
    assert hits == {"await": 2}


async def test_a_watch_dies_at_the_nth_suspension(signals):
    """Exactly there."""
    arm("await=kill9@2")
    await watched(two_pauses("done"))
    assert signals == [(os.getpid(), signal.SIGKILL)]


async def test_a_watch_hands_errors_through():
    """What the work raises, and what is thrown into it."""
    arm("await=kill9@1000")

    async def fails():
        await asyncio.sleep(0)
        raise KeyError("x")

    async def is_cancelled():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "tidied up"

    with pytest.raises(KeyError):
        await watched(fails())
    task = asyncio.ensure_future(watched(is_cancelled()))
    await asyncio.wait([task], timeout=0)
    task.cancel()
    assert await task == "tidied up"
