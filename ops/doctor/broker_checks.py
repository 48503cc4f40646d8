"""Checks the broker: version, queues as the service declares them, confirms, and what AMQP does not tell."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from uuid import uuid4

from consumer.broker.protocol import Broker, BrokerError, Entity, Inspection, Message, UnroutableError
from consumer.broker.topology import Topology
from ops.doctor.broker_role_checks import WITHOUT_DEFAULT_EXCHANGE, check_user, role_of_user
from ops.doctor.findings import Area, Finding
from ops.publishing import publishing

AREA = Area("broker")
OLDEST = (3, 10)
"""At-least-once dead-lettering of quorum queues came with 3.10."""
MAINTAINED = (4, 0)
NACKS_ARE_FREE = (4, 3)
PATCHED = {(4, 2): 10, (4, 3): 5}
SLOW_CONFIRM_SECONDS = 1.0
BACKLOG = 10_000


async def check_broker(broker: Broker, topology: Topology, live_workers: int, taking: int) -> list[Finding]:
    """Return findings about the broker. `taking`: how many live workers are not paused."""
    try:
        inspection = await broker.inspect(topology)
    except BrokerError as error:
        then = "start it, or correct PROVISIONER_AMQP_URL; signups cannot be published, and nothing moves"
        return [AREA.away("reachable", str(error), "a connection", then)]
    return [
        AREA.ok("reachable", f"{inspection.product} {inspection.version}".strip()),
        *_version(inspection),
        *_entities(inspection.entities),
        *_consumers(inspection.entities, topology, live_workers, taking),
        *_backlog(inspection.entities, topology),
        *(await check_user(broker, topology) if inspection.version else ()),
        *([] if role_of_user(broker.user) in WITHOUT_DEFAULT_EXCHANGE else [await _check_confirms(broker, topology)]),
        *(_unknown_over_amqp(topology) if inspection.version else ()),
    ]


def _number(version: str) -> tuple[int, int, int] | None:
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def _version(inspection: Inspection) -> Iterator[Finding]:
    number = _number(inspection.version)
    if number is None:
        return
    if number[:2] < OLDEST:
        need = "3.10 or newer, for at-least-once dead letters"
        yield AREA.fail("version", inspection.version, need, "upgrade RabbitMQ")
    elif number[:2] < MAINTAINED:
        yield AREA.warn("version", inspection.version, "4.2.10 or 4.3.5", "upgrade: 3.x gets no fixes any more")
    elif number[2] < PATCHED.get(number[:2], 0) or number[:2] < min(PATCHED):
        yield AREA.warn("version", inspection.version, "4.2.10 or 4.3.5", "upgrade: they have fixes of security holes")
    else:
        yield AREA.ok("version", inspection.version)
    if number[:2] < NACKS_ARE_FREE:
        have = "what is handed back counts as a delivery (before 4.3); 20 of them, and it is a dead letter"
    else:
        have = "only what a dying worker held counts as a delivery (4.3); 20 of them, and it is a dead letter"
    yield AREA.ok("guarantees", f"confirmed is stored on a majority of the queue's replicas; {have}")


def _entities(entities: Sequence[Entity]) -> Iterator[Finding]:
    missing = [entity.name for entity in entities if not entity.exists]
    need = "quorum, dead-lettered at least once, reject-publish"
    if missing:
        yield AREA.fail("topology", f"missing: {', '.join(missing)}", "all there", "run `provisioner init`")
    differing = [f"{entity.name}: {entity.difference}" for entity in entities if entity.difference]
    if differing:
        then = "drain and delete it, then run `provisioner init`; or choose another PROVISIONER_NAMESPACE"
        yield AREA.fail("topology", "; ".join(differing), need, then)
    if unknown := [f"{entity.name} ({entity.unknown})" for entity in entities if entity.unknown]:
        then = "run the doctor as a user with configure rights on them, or look with rabbitmqctl list_queues arguments"
        yield AREA.unknown("topology", f"it is not known how these were made: {', '.join(unknown)}", then)
    if not missing and not differing and not unknown:
        yield AREA.ok("topology", f"{len(entities)} exchanges and queues, as we make them: {need}")


def _consumers(entities: Sequence[Entity], topology: Topology, live_workers: int, taking: int) -> Iterator[Finding]:
    for queue in (topology.signups, topology.commands):
        entity = next(entity for entity in entities if entity.name == f"queue {queue}")
        if entity.counts is None:
            continue
        consumers = entity.counts.consumers
        have, what = f"{consumers} consumers", f"consumers of {queue}"
        if consumers == 0 and taking:
            then = "look for `consumer lost` in their logs, and compare their PROVISIONER_NAMESPACE with this one"
            yield AREA.fail(what, have, f"{taking}, one a worker", then)
        elif consumers < taking:
            then = "give all workers this PROVISIONER_NAMESPACE, or look for `consumer lost` in their logs"
            yield AREA.warn(what, have, f"{taking}, one a worker", then)
        elif consumers == 0:
            then = "start `provisioner worker`" if not live_workers else "`provisioner resume --all` lets them go on"
            yield AREA.warn(what, have, "one at least", then)
        else:
            yield AREA.ok(what, have)


def _backlog(entities: Sequence[Entity], topology: Topology) -> Iterator[Finding]:
    ready = {entity.name.removeprefix("queue "): entity.counts.ready for entity in entities if entity.counts}
    dead_letters = ready.get(topology.dead_letters, 0)
    if dead_letters:
        then = "`provisioner dead-letters list` shows why; redrive them once that is fixed"
        yield AREA.warn("dead letters", f"{dead_letters}", "none", then)
    else:
        yield AREA.ok("dead letters", "none")
    waiting = {name: count for name, count in ready.items() if name != topology.dead_letters}
    have = ", ".join(f"{count} in {name}" for name, count in waiting.items())
    if max(waiting.values(), default=0) > BACKLOG:
        yield AREA.warn("backlog", have, f"at most {BACKLOG}", "start more workers, or see what holds them up")
    elif have:
        yield AREA.ok("backlog", have)


async def _check_confirms(broker: Broker, topology: Topology) -> Finding:
    """Publish a mandatory message that no queue takes: a broker that accepts publishes returns it."""
    name = f"{topology.namespace}.doctor-{uuid4().hex}"
    probe = Message(str(uuid4()), "doctor", b"{}", exchange="", routing_key=name, mandatory=True)
    began = asyncio.get_running_loop().time()
    try:
        async with publishing(broker) as session:
            began = asyncio.get_running_loop().time()
            await session.publish(probe)
    except UnroutableError:
        seconds = asyncio.get_running_loop().time() - began
    except BrokerError as error:
        then = "a memory or disk alarm blocks publishers: rabbitmq-diagnostics alarms; or this user may not write"
        return AREA.fail("confirms", str(error), "an answer", then)
    else:
        then = "connect to the broker directly: something between, such as a proxy, may drop returned messages"
        return AREA.fail("confirms", "a message for no queue did not come back", "returned", then)
    have, need = f"in {seconds * 1000:.0f} ms", f"within {SLOW_CONFIRM_SECONDS:g} s"
    if seconds > SLOW_CONFIRM_SECONDS:
        return AREA.warn("confirms", have, need, "look at the broker's load, disk and network")
    return AREA.ok("confirms", have, need)


def _unknown_over_amqp(topology: Topology) -> Iterator[Finding]:
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
