"""Two lanes of waiting deliveries, and how many signups may be under way at once."""

import asyncio

import pytest

from consumer.admission import CROWD_SECONDS, SCOUTING_SECONDS, SCOUTS, SILENCE_SECONDS, Admission
from consumer.intake import Intake, Waiting
from tests.factories import TOPOLOGY, FakeSession, make_delivery


class Rooms:
    """Admission as a number."""

    def __init__(self, free=1000):
        self.free = free
        self.wanted_count = 0

    def grant(self, asked):
        return max(0, min(asked, self.free))

    def reserve(self, count):
        self.free -= count

    def wanted(self):
        self.wanted_count += 1


def make_intake(free=1000):
    rooms = Rooms(free)
    return Intake(TOPOLOGY.signups, rooms), rooms


def signup(tag=1, session=None):
    return make_delivery({"website_id": tag}, type="website.created", tag=tag, session=session)


def step(tag=1, session=None):
    return make_delivery({"website_id": tag}, tag=tag, session=session)


async def taken_now(intake, limit):
    """What take() returns in one turn of the loop; None if it waits."""
    taking = asyncio.ensure_future(intake.take(limit))
    await asyncio.wait([taking], timeout=0)
    if taking.done():
        return [waiting.delivery for waiting in taking.result()]
    taking.cancel()
    return None


async def waits(intake, limit):
    """Whether take() has nothing to return yet."""
    return await taken_now(intake, limit) is None


async def test_commands_go_before_signups():
    """Finish what was started: whatever the order of arrival, and in it within a lane."""
    intake, _ = make_intake()
    arrived = [signup(1), step(2), signup(3), step(4)]
    for delivery in arrived:
        intake.put(delivery)
    assert [delivery.tag for delivery in await taken_now(intake, 16)] == [2, 4]
    assert [delivery.tag for delivery in await taken_now(intake, 16)] == [1, 3]


async def test_a_batch_is_of_one_kind():
    """The oldest command decides of which; the others keep their order, and none is passed over for ever."""
    intake, _ = make_intake()
    kinds = ["complete_links", "mark_ready", "complete_links", "go_live", "mark_ready"]
    for tag, kind in enumerate(kinds):
        intake.put(make_delivery({"website_id": tag}, type=f"provisioning.{kind}", tag=tag))
    assert [[delivery.tag for delivery in await taken_now(intake, 16)] for _ in range(3)] == [[0, 2], [1, 4], [3]]


async def test_a_kind_beyond_the_limit_waits_its_turn():
    """What does not fit into a batch stands behind nothing that came later."""
    intake, _ = make_intake()
    for tag in range(3):
        intake.put(step(tag))
    intake.put(make_delivery({"website_id": 9}, type="provisioning.go_live", tag=9))
    assert [[delivery.tag for delivery in await taken_now(intake, 2)] for _ in range(3)] == [[0, 1], [2], [9]]


async def test_what_is_there_is_taken_and_nothing_is_waited_for():
    """One delivery is a batch, at once."""
    intake, _ = make_intake()
    intake.put(step())
    assert len(await taken_now(intake, 16)) == 1


async def test_a_batch_has_its_limit():
    """The rest stays for the next one."""
    intake, _ = make_intake()
    for tag in range(20):
        intake.put(step(tag))
    assert [delivery.tag for delivery in await taken_now(intake, 16)] == list(range(16))
    assert len(intake) == 4
    assert [delivery.tag for delivery in await taken_now(intake, 16)] == list(range(16, 20))


async def test_nothing_is_taken_from_nothing():
    """An empty intake makes its worker wait."""
    assert await waits(make_intake()[0], 16)


async def test_a_waiting_worker_is_woken_by_an_arrival():
    """It takes what comes as soon as it comes."""
    intake, _ = make_intake()
    async with asyncio.timeout(5):
        worker = asyncio.ensure_future(intake.take(16))
        await asyncio.wait([worker], timeout=0)
        assert not worker.done()
        intake.put(step(7))
        (waiting,) = await worker
    assert waiting.delivery.tag == 7


async def test_every_waiting_worker_gets_its_share():
    """One worker's batch does not leave the others asleep beside a full lane."""
    intake, _ = make_intake()
    async with asyncio.timeout(5):
        workers = [asyncio.ensure_future(intake.take(1)) for _ in range(3)]
        await asyncio.wait(workers, timeout=0)
        for tag in range(3):
            intake.put(step(tag))
        batches = await asyncio.gather(*workers)
    assert sorted(batch[0].delivery.tag for batch in batches) == [0, 1, 2]


async def test_signups_are_taken_as_far_as_there_is_room():
    """And what is taken is reserved."""
    intake, rooms = make_intake(free=2)
    for tag in range(5):
        intake.put(signup(tag))
    assert [delivery.tag for delivery in await taken_now(intake, 16)] == [0, 1]
    assert rooms.free == 0
    assert await waits(intake, 16)
    assert rooms.wanted_count == 1, "admission hears that signups wait"


@pytest.mark.parametrize("free", [0, -3])
async def test_without_room_commands_still_flow(free):
    """A full admission holds up new websites only."""
    intake, _ = make_intake(free)
    intake.put(signup(1))
    intake.put(step(2))
    assert [delivery.tag for delivery in await taken_now(intake, 16)] == [2]
    assert len(intake) == 1


async def test_idle_workers_do_not_keep_each_other_awake():
    """Four workers, one signup and no room: each looks once, and all sleep until something changes."""
    intake, rooms = make_intake(free=0)
    workers = [asyncio.ensure_future(intake.take(16)) for _ in range(4)]
    await asyncio.sleep(0)
    intake.put(signup(1))
    for _ in range(200):
        await asyncio.sleep(0)
    looks = rooms.wanted_count
    rooms.free = 1
    intake.wake()
    await asyncio.wait(workers, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    for worker in workers:
        worker.cancel()
    assert looks == len(workers)


async def test_a_batch_that_commands_fill_takes_no_signup():
    """Nor reserves one."""
    intake, rooms = make_intake(free=5)
    intake.put(step(1))
    intake.put(signup(2))
    assert [delivery.tag for delivery in await taken_now(intake, 1)] == [1]
    assert rooms.free == 5


async def test_room_wakes_who_waits_for_it():
    """wake() makes a worker look again."""
    intake, rooms = make_intake(free=0)
    intake.put(signup(7))
    async with asyncio.timeout(5):
        worker = asyncio.ensure_future(intake.take(16))
        await asyncio.wait([worker], timeout=0)
        assert not worker.done()
        rooms.free = 1
        intake.wake()
        (waiting,) = await worker
    assert waiting.delivery.tag == 7


async def test_what_is_in_flight_is_counted():
    """From take to put down."""
    intake, _ = make_intake()
    for tag in range(3):
        intake.put(step(tag))
    batch = await intake.take(2)
    assert (intake.in_flight, len(intake), intake.held(TOPOLOGY.commands)) == (2, 1, 3)
    intake.put_down(batch)
    assert (intake.in_flight, intake.held(TOPOLOGY.commands)) == (0, 1)


async def test_what_is_put_back_goes_round_again():
    """After its delay, in its lane, with one more round counted; until then it is still ours."""
    intake, _ = make_intake()
    waiting = Waiting(step(7))
    intake.put_back(waiting, 0.001)
    assert len(intake) == 1
    assert await waits(intake, 16)
    async with asyncio.timeout(5):
        assert await intake.take(16) == [waiting]
    assert waiting.rounds == 1
    assert len(intake) == 0


async def test_what_a_dead_session_delivered_is_not_put_back():
    """The broker delivers it again: two copies in one process would be one too many."""
    intake, _ = make_intake()
    dead, dying = FakeSession(), FakeSession()
    await dead.close()
    intake.put_back(Waiting(step(1, dead)), 0)
    assert len(intake) == 0
    intake.put_back(Waiting(step(2, dying)), 0)
    await dying.close()
    intake.put_back(Waiting(step(3)), 0)
    async with asyncio.timeout(5):
        (waiting,) = await intake.take(16)
    assert waiting.delivery.tag == 3
    assert len(intake) == 0


async def test_a_dead_session_is_forgotten_everywhere():
    """In both lanes and among the delayed; what another session delivered stays."""
    intake, _ = make_intake()
    dead, alive = FakeSession(), FakeSession()
    for session, first in ((dead, 1), (alive, 4)):
        intake.put(step(first, session))
        intake.put(signup(first + 1, session))
        intake.put_back(Waiting(step(first + 2, session)), 0)
    intake.forget(dead)
    assert len(intake) == 3
    async with asyncio.timeout(5):
        seen = {waiting.delivery.tag for waiting in await intake.take(16)}
        while len(seen) < 3:
            seen |= {waiting.delivery.tag for waiting in await intake.take(16)}
    assert seen == {4, 5, 6}


async def test_a_stop_gives_up_everything_that_waits():
    """Both lanes and the delayed, each once, and nothing comes back later."""
    intake, _ = make_intake()
    intake.put(step(1))
    intake.put(signup(2))
    intake.put_back(Waiting(step(3)), 0)
    assert sorted(delivery.tag for delivery in intake.empty()) == [1, 2, 3]
    assert len(intake) == 0
    marker = asyncio.Event()
    asyncio.get_running_loop().call_later(0.001, marker.set)
    await marker.wait()
    assert len(intake) == 0


def test_a_signup_is_known_by_its_queue():
    """Not by what it says of itself."""
    intake, _ = make_intake()
    assert intake.is_signup(Waiting(signup()))
    assert not intake.is_signup(Waiting(make_delivery(type="website.created", queue=TOPOLOGY.commands)))


# ------------------------------------------------------------------------------------------------------ admission


class Database:
    """Says which websites are still under way."""

    def __init__(self, *moving):
        self.moving = set(moving)

    async def under_way(self, ids):
        return self.moving & set(ids)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def make_admission(limit, *moving):
    """An admission that has scouted already, and how much each call of `on_room` could have started."""
    clock = Clock()
    admission = Admission(limit, Database(*moving).under_way, clock=clock)
    admission.clock = clock
    admission.reserve(1)
    admission.turn_away()
    opened = []
    admission.on_room = lambda: opened.append(limit - admission.taken)
    return admission, opened


def test_admission_never_starts_more_than_its_limit():
    """Reserved and admitted websites take the same places."""
    admission, _ = make_admission(3)
    admission.reserve(2)
    assert admission.grant(1) == 1
    admission.admit(1)
    assert admission.grant(1) == 1
    admission.reserve(1)
    assert admission.grant(1) == 0
    admission.clock.now += CROWD_SECONDS
    assert admission.grant(1) == 0, "not by waiting either"


def test_a_signup_that_started_nothing_gives_its_place_back():
    """A duplicate or a bad one, and whoever waits hears of it."""
    admission, opened = make_admission(1)
    admission.reserve(1)
    admission.turn_away()
    assert opened == [1]


def test_a_website_at_rest_gives_its_place_back_once():
    """Heard of twice, it is one place; one that was never admitted is none."""
    admission, opened = make_admission(1)
    admission.reserve(1)
    admission.admit(7)
    admission.release(8)
    assert admission.grant(1) == 0
    admission.release(7)
    admission.release(7)
    assert admission.grant(1) == 1
    assert opened == [1]


async def test_what_others_finished_gives_its_place_back():
    """The database knows who still moves."""
    admission, opened = make_admission(2, 1)
    admission.reserve(2)
    admission.admit(1)
    admission.admit(2)
    await admission.run_once()
    assert admission.grant(1) == 1
    assert opened == [1]
    await admission.run_once()
    assert opened == [1], "nothing new, nothing said"


def test_signups_start_in_crowds():
    """A part of a crowd waits for the rest of its room, but not for long: some of it may be locked elsewhere."""
    admission, _ = make_admission(8)
    admission.reserve(6)
    assert admission.grant(2) == 2
    assert admission.grant(4) == 0
    admission.clock.now += CROWD_SECONDS * 0.9
    assert admission.grant(4) == 0
    admission.clock.now += CROWD_SECONDS * 0.1
    assert admission.grant(4) == 2
    assert admission.grant(4) == 0, "the next part waits, too"


def test_a_crowd_is_no_larger_than_what_may_ever_be_under_way():
    """A batch beyond the limit does not wait for room that cannot come."""
    admission, _ = make_admission(3)
    assert admission.grant(32) == 3


def test_after_a_silence_a_few_go_ahead():
    """Until the first of them rests, the others wait; without a silence there are no scouts."""
    admission, opened = make_admission(64)
    assert admission.grant(32) == 32, "no silence yet"
    admission.clock.now += SILENCE_SECONDS
    assert admission.grant(32) == SCOUTS
    admission.reserve(SCOUTS - 1)
    assert admission.grant(32) == 1, "as many as fit, also when they come one by one"
    admission.reserve(1)
    assert admission.grant(32) == 0
    admission.admit(1)
    assert admission.grant(32) == 0
    admission.release(1)
    assert admission.grant(32) == 32
    assert opened == [64 - SCOUTS + 1]


def test_scouts_that_do_not_come_back_hold_nobody_up():
    """Whatever has become of them, the crowd goes on after a moment."""
    admission, _ = make_admission(64)
    admission.clock.now += SILENCE_SECONDS
    assert admission.grant(32) == SCOUTS
    admission.reserve(SCOUTS)
    admission.clock.now += SCOUTING_SECONDS
    assert admission.grant(32) == 32


async def test_intake_and_admission_hold_a_burst_back():
    """Of a hundred signups as many are taken as the limit says, and the next a moment after one has gone live."""
    admission, _ = make_admission(5)
    intake = Intake(TOPOLOGY.signups, admission)
    admission.on_room = intake.wake
    for tag in range(100):
        intake.put(signup(tag))
    assert [delivery.tag for delivery in await taken_now(intake, 16)] == [0, 1, 2, 3, 4]
    for website_id in range(5):
        admission.admit(website_id)
    assert await waits(intake, 16)
    admission.release(0)
    assert await waits(intake, 16)
    admission.clock.now += CROWD_SECONDS
    intake.wake()
    assert [delivery.tag for delivery in await taken_now(intake, 16)] == [5]
