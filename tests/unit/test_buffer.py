"""The buffer: two lanes of waiting deliveries, and what workers take of them."""

import asyncio

import pytest

from consumer.worker.buffer import Buffer, BufferedDelivery
from consumer.worker.signup_admission import COHORT_SECONDS, Reservation
from tests.factories import TOPOLOGY, FakeSession, make_admission, make_delivery


class FreePlaces:
    """Admission as a number."""

    def __init__(self, free):
        self.free = free
        self.refreshes_requested = 0

    def grant(self, asked):
        return max(0, min(asked, self.free))

    def reserve(self):
        self.free -= 1
        return Reservation()

    def cancel(self, reservation):
        assert isinstance(reservation, Reservation)
        self.free += 1

    def request_refresh(self):
        self.refreshes_requested += 1


def make_buffer(free=1000):
    places = FreePlaces(free)
    return Buffer(TOPOLOGY.signups, places), places


def signup(tag=1, session=None):
    return make_delivery({"website_id": tag}, type="website.created", tag=tag, session=session)


def step(tag=1, session=None):
    return make_delivery({"website_id": tag}, tag=tag, session=session)


async def taken_now(buffer, limit):
    """What take() returns in one turn of the loop; None if it waits."""
    taking = asyncio.ensure_future(buffer.take(limit))
    await asyncio.wait([taking], timeout=0)
    if taking.done():
        return [item.delivery for item in taking.result()]
    taking.cancel()
    return None


async def waits(buffer, limit):
    """Whether take() has nothing to return yet."""
    return await taken_now(buffer, limit) is None


async def test_commands_go_before_signups():
    """Finish what was started: whatever the order of arrival, and in it within a lane."""
    buffer, _ = make_buffer()
    arrived = [signup(1), step(2), signup(3), step(4)]
    for delivery in arrived:
        buffer.put(delivery)
    assert [delivery.tag for delivery in await taken_now(buffer, 16)] == [2, 4]
    assert [delivery.tag for delivery in await taken_now(buffer, 16)] == [1, 3]


async def test_a_batch_is_of_one_kind():
    """The oldest command decides of which; the others keep their order, and none is passed over for ever."""
    buffer, _ = make_buffer()
    kinds = ["complete_links", "mark_ready", "complete_links", "go_live", "mark_ready"]
    for tag, kind in enumerate(kinds):
        buffer.put(make_delivery({"website_id": tag}, type=f"provisioning.{kind}", tag=tag))
    assert [[delivery.tag for delivery in await taken_now(buffer, 16)] for _ in range(3)] == [[0, 2], [1, 4], [3]]


async def test_a_kind_beyond_the_limit_waits_its_turn():
    """What does not fit into a batch stands behind nothing that came later."""
    buffer, _ = make_buffer()
    for tag in range(3):
        buffer.put(step(tag))
    buffer.put(make_delivery({"website_id": 9}, type="provisioning.go_live", tag=9))
    assert [[delivery.tag for delivery in await taken_now(buffer, 2)] for _ in range(3)] == [[0, 1], [2], [9]]


async def test_what_is_there_is_taken_and_nothing_is_waited_for():
    """One delivery is a batch, at once."""
    buffer, _ = make_buffer()
    buffer.put(step())
    assert len(await taken_now(buffer, 16)) == 1


async def test_a_batch_has_its_limit():
    """The rest stays for the next one."""
    buffer, _ = make_buffer()
    for tag in range(20):
        buffer.put(step(tag))
    assert [delivery.tag for delivery in await taken_now(buffer, 16)] == list(range(16))
    assert len(buffer) == 4
    assert [delivery.tag for delivery in await taken_now(buffer, 16)] == list(range(16, 20))


async def test_nothing_is_taken_from_nothing():
    """An empty buffer makes its worker wait."""
    assert await waits(make_buffer()[0], 16)


async def test_a_waiting_worker_is_woken_by_an_arrival():
    """It takes what comes as soon as it comes."""
    buffer, _ = make_buffer()
    async with asyncio.timeout(60):
        worker = asyncio.ensure_future(buffer.take(16))
        await asyncio.wait([worker], timeout=0)
        assert not worker.done()
        buffer.put(step(7))
        (item,) = await worker
    assert item.delivery.tag == 7


async def test_every_waiting_worker_gets_its_share():
    """One worker's batch does not leave the others asleep beside a full lane."""
    buffer, _ = make_buffer()
    async with asyncio.timeout(60):
        workers = [asyncio.ensure_future(buffer.take(1)) for _ in range(3)]
        await asyncio.wait(workers, timeout=0)
        for tag in range(3):
            buffer.put(step(tag))
        batches = await asyncio.gather(*workers)
    assert sorted(batch[0].delivery.tag for batch in batches) == [0, 1, 2]


async def test_signups_are_taken_as_far_as_there_is_room():
    """And what is taken is reserved."""
    buffer, places = make_buffer(free=2)
    for tag in range(5):
        buffer.put(signup(tag))
    assert [delivery.tag for delivery in await taken_now(buffer, 16)] == [0, 1]
    assert places.free == 0
    assert await waits(buffer, 16)
    assert places.refreshes_requested == 1, "admission is asked to find room"


@pytest.mark.parametrize("free", [0, -3])
async def test_without_room_commands_still_flow(free):
    """A full admission holds up new websites only."""
    buffer, _ = make_buffer(free)
    buffer.put(signup(1))
    buffer.put(step(2))
    assert [delivery.tag for delivery in await taken_now(buffer, 16)] == [2]
    assert len(buffer) == 1


async def test_idle_workers_do_not_keep_each_other_awake():
    """Four workers, one signup and no room: each looks once, and all sleep until something changes."""
    buffer, places = make_buffer(free=0)
    workers = [asyncio.ensure_future(buffer.take(16)) for _ in range(4)]
    await asyncio.sleep(0)
    buffer.put(signup(1))
    for _ in range(200):
        await asyncio.sleep(0)
    looks = places.refreshes_requested
    places.free = 1
    buffer.wake()
    await asyncio.wait(workers, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    for worker in workers:
        worker.cancel()
    assert looks == len(workers)


async def test_a_batch_that_commands_fill_takes_no_signup():
    """Nor reserves one."""
    buffer, places = make_buffer(free=5)
    buffer.put(step(1))
    buffer.put(signup(2))
    assert [delivery.tag for delivery in await taken_now(buffer, 1)] == [1]
    assert places.free == 5


async def test_room_wakes_who_waits_for_it():
    """wake() makes a worker look again."""
    buffer, places = make_buffer(free=0)
    buffer.put(signup(7))
    async with asyncio.timeout(60):
        worker = asyncio.ensure_future(buffer.take(16))
        await asyncio.wait([worker], timeout=0)
        assert not worker.done()
        places.free = 1
        buffer.wake()
        (item,) = await worker
    assert item.delivery.tag == 7


async def test_what_is_in_flight_is_counted():
    """From take to put down."""
    buffer, _ = make_buffer()
    for tag in range(3):
        buffer.put(step(tag))
    batch = await buffer.take(2)
    assert (buffer.in_flight, len(buffer), buffer.unacked(TOPOLOGY.commands)) == (2, 1, 3)
    buffer.end_batch(batch)
    assert (buffer.in_flight, buffer.unacked(TOPOLOGY.commands)) == (0, 1)


async def test_what_is_put_back_goes_round_again():
    """After its delay, in its lane, with one more round counted; until then it is still ours."""
    buffer, _ = make_buffer()
    item = BufferedDelivery(step(7))
    buffer.put_back(item, 0.001)
    assert len(buffer) == 1
    assert await waits(buffer, 16)
    async with asyncio.timeout(60):
        assert await buffer.take(16) == [item]
    assert item.rounds == 1
    assert len(buffer) == 0


async def test_what_a_dead_session_delivered_is_not_put_back():
    """The broker delivers it again: two copies in one process would be one too many."""
    buffer, _ = make_buffer()
    dead, dying = FakeSession(), FakeSession()
    await dead.close()
    buffer.put_back(BufferedDelivery(step(1, dead)), 0)
    assert len(buffer) == 0
    buffer.put_back(BufferedDelivery(step(2, dying)), 0)
    await dying.close()
    buffer.put_back(BufferedDelivery(step(3)), 0)
    async with asyncio.timeout(60):
        (item,) = await buffer.take(16)
    assert item.delivery.tag == 3
    assert len(buffer) == 0


async def test_a_dead_session_is_forgotten_everywhere():
    """In both lanes and among the delayed; what another session delivered stays."""
    buffer, _ = make_buffer()
    dead, alive = FakeSession(), FakeSession()
    for session, first in ((dead, 1), (alive, 4)):
        buffer.put(step(first, session))
        buffer.put(signup(first + 1, session))
        buffer.put_back(BufferedDelivery(step(first + 2, session)), 0)
    buffer.forget(dead)
    assert len(buffer) == 3
    async with asyncio.timeout(60):
        seen = {item.delivery.tag for item in await buffer.take(16)}
        while len(seen) < 3:
            seen |= {item.delivery.tag for item in await buffer.take(16)}
    assert seen == {4, 5, 6}


async def test_a_stop_gives_up_everything_that_waits():
    """Both lanes and the delayed, each once, and nothing comes back later."""
    buffer, _ = make_buffer()
    buffer.put(step(1))
    buffer.put(signup(2))
    buffer.put_back(BufferedDelivery(step(3)), 0)
    assert sorted(delivery.tag for delivery in buffer.take_all()) == [1, 2, 3]
    assert len(buffer) == 0
    marker = asyncio.Event()
    asyncio.get_running_loop().call_later(0.001, marker.set)
    await marker.wait()
    assert len(buffer) == 0


async def test_a_signup_is_known_by_its_queue():
    """Not by its type: what came by the signups queue has a reserved place, what came by the other one has none."""
    buffer, places = make_buffer(free=5)
    buffer.put(make_delivery(type="website.created", queue=TOPOLOGY.commands))
    buffer.put(signup())
    batches = [await buffer.take(16), await buffer.take(16)]
    assert [[item.delivery.queue for item in batch] for batch in batches] == [[TOPOLOGY.commands], [TOPOLOGY.signups]]
    assert [bool(item.reservation) for batch in batches for item in batch] == [False, True]
    assert places.free == 4
    for batch in batches:
        buffer.end_batch(batch)
    assert places.free == 5, "whatever was not admitted gives its place back"


async def test_buffer_and_admission_hold_a_burst_back():
    """Of a hundred signups as many are taken as the limit says, and the next a moment after one has gone live."""
    admission, _ = make_admission(5)
    buffer = Buffer(TOPOLOGY.signups, admission)
    admission.on_room = buffer.wake
    for tag in range(100):
        buffer.put(signup(tag))
    batch = await buffer.take(16)
    assert [item.delivery.tag for item in batch] == [0, 1, 2, 3, 4]
    for item in batch:
        admission.admit(item.reservation, item.delivery.tag)
    buffer.end_batch(batch)
    assert await waits(buffer, 16)
    admission.release(0)
    assert await waits(buffer, 16)
    admission.clock.now += COHORT_SECONDS
    buffer.wake()
    assert [delivery.tag for delivery in await taken_now(buffer, 16)] == [5]
