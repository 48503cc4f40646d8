"""Whether the broker is one that keeps its word: version, queues as we make them, confirms, and what nobody can ask."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from uuid import uuid4

from consumer.broker import Broker, BrokerError, Examination, Message, Part, Unroutable
from consumer.topology import Topology
from ops.doctor.findings import Area, Finding
from ops.sending import publishing

AREA = Area("broker")
OLDEST = (3, 10)
"""At-least-once dead-lettering of quorum queues came with 3.10."""
MAINTAINED = (4, 0)
NACKS_ARE_FREE = (4, 3)
PATCHED = {(4, 2): 10, (4, 3): 5}
SLOW_CONFIRM_SECONDS = 1.0
BACKLOG = 10_000


async def look(broker: Broker, topology: Topology, live_workers: int, taking: int) -> list[Finding]:
    """Return what there is to say of the broker. `taking`: how many workers say that they take deliveries."""
    try:
        seen = await broker.examine(topology)
    except BrokerError as error:
        then = "start it, or mend PROVISIONER_AMQP_URL; signups cannot be published, and nothing moves"
        return [AREA.away("reachable", str(error), "a connection", then)]
    return [
        AREA.ok("reachable", f"{seen.product} {seen.version}".strip()),
        *_version(seen),
        *_parts(seen.parts),
        *_consumers(seen.parts, topology, live_workers, taking),
        *_backlog(seen.parts, topology),
        await _confirms(broker, topology),
        *(_unasked(topology) if seen.version else ()),
    ]


def _number(version: str) -> tuple[int, int, int] | None:
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def _version(seen: Examination) -> Iterator[Finding]:
    number = _number(seen.version)
    if number is None:
        return
    if number[:2] < OLDEST:
        need = "3.10 or newer, for at-least-once dead letters"
        yield AREA.fail("version", seen.version, need, "upgrade RabbitMQ")
    elif number[:2] < MAINTAINED:
        yield AREA.warn("version", seen.version, "4.2.10 or 4.3.5", "upgrade: 3.x gets no fixes any more")
    elif number[2] < PATCHED.get(number[:2], 0) or number[:2] < min(PATCHED):
        yield AREA.warn("version", seen.version, "4.2.10 or 4.3.5", "upgrade: they have fixes of security holes")
    else:
        yield AREA.ok("version", seen.version)
    if number[:2] < NACKS_ARE_FREE:
        have = "what is handed back counts as a delivery (before 4.3); 20 of them, and it is a dead letter"
    else:
        have = "only what a dying worker held counts as a delivery (4.3); 20 of them, and it is a dead letter"
    yield AREA.ok("guarantees", f"confirmed is stored on a majority of the queue's replicas; {have}")


def _parts(parts: Sequence[Part]) -> Iterator[Finding]:
    missing = [part.what for part in parts if not part.there]
    need = "quorum, dead-lettered at least once, reject-publish, as docs/messages.md has them"
    if missing:
        yield AREA.fail("topology", f"missing: {', '.join(missing)}", "all there", "run `provisioner init`")
    differing = [f"{part.what}: {part.differs}" for part in parts if part.differs]
    if differing:
        then = "drain and delete it, then run `provisioner init`; or choose another PROVISIONER_NAMESPACE"
        yield AREA.fail("topology", "; ".join(differing), need, then)
    if untold := [f"{part.what} ({part.untold})" for part in parts if part.untold]:
        then = "run the doctor as a user with configure rights on them, or look with rabbitmqctl list_queues arguments"
        yield AREA.unknown("topology", f"how these were made is not told: {', '.join(untold)}", then)
    if not missing and not differing and not untold:
        yield AREA.ok("topology", f"{len(parts)} exchanges and queues, as we make them: {need}")


def _consumers(parts: Sequence[Part], topology: Topology, live_workers: int, taking: int) -> Iterator[Finding]:
    for queue in (topology.signups, topology.commands):
        part = next(part for part in parts if part.what == f"queue {queue}")
        if part.consumers is None:
            continue
        have, what = f"{part.consumers} consumers", f"consumers of {queue}"
        if part.consumers == 0 and taking:
            then = "look at their log for `consumer lost`; is their PROVISIONER_NAMESPACE this one?"
            yield AREA.fail(what, have, f"{taking}, one a worker", then)
        elif part.consumers < taking:
            yield AREA.warn(what, have, f"{taking}, one a worker", "do all have this PROVISIONER_NAMESPACE?")
        elif part.consumers == 0:
            then = "start `provisioner worker`" if not live_workers else "`provisioner resume --all` lets them go on"
            yield AREA.warn(what, have, "one at least", then)
        else:
            yield AREA.ok(what, have)


def _backlog(parts: Sequence[Part], topology: Topology) -> Iterator[Finding]:
    ready = {part.what.removeprefix("queue "): part.ready or 0 for part in parts if part.ready is not None}
    letters = ready.get(topology.dead_letters, 0)
    if letters:
        then = "`provisioner dead-letters list` shows why; redrive them once that is mended"
        yield AREA.warn("dead letters", f"{letters}", "none", then)
    else:
        yield AREA.ok("dead letters", "none")
    waiting = {name: count for name, count in ready.items() if name != topology.dead_letters}
    have = ", ".join(f"{count} in {name}" for name, count in waiting.items())
    if max(waiting.values(), default=0) > BACKLOG:
        yield AREA.warn("backlog", have, f"at most {BACKLOG}", "start more workers, or see what holds them up")
    elif have:
        yield AREA.ok("backlog", have)


async def _confirms(broker: Broker, topology: Topology) -> Finding:
    """Publish what no queue takes: it comes back, and is confirmed, by a broker that takes publishes at all."""
    name = f"{topology.namespace}.doctor-{uuid4().hex}"
    asked = Message(str(uuid4()), "doctor", b"{}", exchange="", routing_key=name, mandatory=True)
    began = asyncio.get_running_loop().time()
    try:
        async with publishing(broker) as session:
            began = asyncio.get_running_loop().time()
            await session.publish(asked)
    except Unroutable:
        seconds = asyncio.get_running_loop().time() - began
    except BrokerError as error:
        then = "a memory or disk alarm blocks publishers: rabbitmq-diagnostics alarms; or this user may not write"
        return AREA.fail("confirms", str(error), "an answer", then)
    else:
        return AREA.fail("confirms", "a message for no queue did not come back", "returned", "what stands between?")
    have, need = f"in {seconds * 1000:.0f} ms", f"within {SLOW_CONFIRM_SECONDS:g} s"
    if seconds > SLOW_CONFIRM_SECONDS:
        return AREA.warn("confirms", have, need, "look at the broker's load, disk and network")
    return AREA.ok("confirms", have, need)


def _unasked(topology: Topology) -> Iterator[Finding]:
    names = f"{topology.namespace}.*"
    yield AREA.unknown(
        "policies", "not known over AMQP: a max-length, message-ttl or delivery-limit by policy would drop messages",
        f"rabbitmqctl list_policies; list_queues name effective_policy_definition: none should touch {names}",
    )  # fmt: skip
    yield AREA.unknown(
        "bindings", "not known over AMQP; every worker makes them when it connects", "rabbitmqctl list_bindings"
    )
    yield AREA.unknown(
        "replicas", "not known over AMQP: a queue with one replica dies with its node",
        f"rabbitmq-queues quorum_status {topology.commands}; three or five survive the loss of one or two nodes",
    )  # fmt: skip
