"""Admission: how many signups may be under way at once, and in which cohorts they start."""

from consumer.worker.signup_admission import COHORT_SECONDS, FIRST_BATCH, FIRST_BATCH_SECONDS, IDLE_SECONDS
from tests.factories import make_admission


def reserve(admission, count):
    """Reserve so many places."""
    return [admission.reserve() for _ in range(count)]


def test_admission_never_starts_more_than_its_limit():
    """Reserved and admitted websites take the same places."""
    admission, _ = make_admission(3)
    first, _ = reserve(admission, 2)
    assert admission.grant(1) == 1
    admission.admit(first, 1)
    assert admission.grant(1) == 1
    reserve(admission, 1)
    assert admission.grant(1) == 0
    admission.clock.now += COHORT_SECONDS
    assert admission.grant(1) == 0, "not by waiting either"


def test_a_signup_that_started_nothing_gives_its_place_back():
    """A duplicate or a bad one gives it back once, and there is room for others."""
    admission, opened = make_admission(1)
    reservation = admission.reserve()
    admission.cancel(reservation)
    admission.cancel(reservation)
    assert opened == [1]


def test_an_admitted_signup_keeps_its_place():
    """Whoever cancels what was not admitted need not know what was."""
    admission, opened = make_admission(1)
    reservation = admission.reserve()
    admission.admit(reservation, 7)
    admission.cancel(reservation)
    assert (admission.taken, opened) == (1, [])


def test_a_website_at_rest_gives_its_place_back_once():
    """Released twice, it is one place; one that was never admitted is none."""
    admission, opened = make_admission(1)
    admission.admit(admission.reserve(), 7)
    admission.release(8)
    assert admission.grant(1) == 0
    admission.release(7)
    admission.release(7)
    assert admission.grant(1) == 1
    assert opened == [1]


async def test_what_others_finished_gives_its_place_back():
    """The database knows which websites are still under way."""
    admission, opened = make_admission(2, 1)
    for website_id, reservation in enumerate(reserve(admission, 2), 1):
        admission.admit(reservation, website_id)
    await admission.run_once()
    assert admission.grant(1) == 1
    assert opened == [1]
    await admission.run_once()
    assert opened == [1], "nothing new, nobody called"


def test_signups_start_in_cohorts():
    """A part of a cohort waits for the rest of its room, but not for long: some of it may be locked elsewhere."""
    admission, _ = make_admission(8)
    reserve(admission, 6)
    assert admission.grant(2) == 2
    assert admission.grant(4) == 0
    admission.clock.now += COHORT_SECONDS * 0.9
    assert admission.grant(4) == 0
    admission.clock.now += COHORT_SECONDS * 0.1
    assert admission.grant(4) == 2
    assert admission.grant(4) == 0, "the next part waits, too"


def test_a_cohort_is_no_larger_than_what_may_ever_be_under_way():
    """A batch beyond the limit does not wait for room that cannot come."""
    admission, _ = make_admission(3)
    assert admission.grant(32) == 3


def test_after_an_idle_moment_a_first_batch_goes_ahead():
    """Until the first of them rests, the others wait; without an idle moment there is no first batch."""
    admission, opened = make_admission(64)
    assert admission.grant(32) == 32, "not idle for long enough yet"
    admission.clock.now += IDLE_SECONDS
    assert admission.grant(32) == FIRST_BATCH
    first, *_ = reserve(admission, FIRST_BATCH - 1)
    assert admission.grant(32) == 1, "as many as fit, also when they come one by one"
    reserve(admission, 1)
    assert admission.grant(32) == 0
    admission.admit(first, 1)
    assert admission.grant(32) == 0
    admission.release(1)
    assert admission.grant(32) == 32
    assert opened == [64 - FIRST_BATCH + 1]


def test_a_first_batch_that_does_not_rest_holds_nobody_up():
    """Whatever has become of it, the others start after a moment."""
    admission, _ = make_admission(64)
    admission.clock.now += IDLE_SECONDS
    assert admission.grant(32) == FIRST_BATCH
    reserve(admission, FIRST_BATCH)
    admission.clock.now += FIRST_BATCH_SECONDS
    assert admission.grant(32) == 32
