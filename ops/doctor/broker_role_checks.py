"""Checks whether the broker's user has the rights of its role in deploy/rabbitmq/definitions.json, and no more."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from consumer.broker.protocol import Broker, BrokerError, Right
from consumer.broker.topology import Topology
from consumer.messages.inbound_contracts import COMMAND_PREFIX, WEBSITE_CREATED
from ops.doctor.findings import Area, Finding
from statemachine import Trigger

AREA = Area("broker")
WHAT = "user"
PREFIX = "provisioner-"
BrokerRole = Literal["migrate", "worker", "ops", "signup"]
BROKER_ROLES: Mapping[str, BrokerRole] = {
    f"{PREFIX}migrate": "migrate", f"{PREFIX}worker": "worker", f"{PREFIX}ops": "ops", f"{PREFIX}signup": "signup",
}  # fmt: skip
OF_PEOPLE = (
    Trigger.RETRY_PROVISIONING, Trigger.GO_LIVE, Trigger.SUSPEND, Trigger.REACTIVATE, Trigger.TERMINATE,
    Trigger.FAIL_PROVISIONING,
)  # fmt: skip
WITHOUT_DEFAULT_EXCHANGE = ("migrate", "signup")
"""The roles that cannot publish to a queue by its name, and so cannot be asked for a confirm."""
THEN = "docs/security.md says how to install the four users with their rights"


def role_of_user(user: str | None) -> BrokerRole | None:
    """Return the role of a broker user by its name; None for a user that is none of the four."""
    return BROKER_ROLES.get(user or "")


def rights_of_roles(topology: Topology) -> dict[Right, Sequence[BrokerRole]]:
    """Return the rights that are asked for, each with the roles that have it."""
    commands, events = topology.commands_exchange, topology.events_exchange
    return {
        Right("declare", topology.commands): ("migrate",),
        Right("read", topology.signups): ("migrate", "worker"),
        Right("read", topology.commands): ("migrate", "worker"),
        Right("read", topology.dead_letters): ("migrate", "ops"),
        Right("publish", ""): ("worker", "ops"),
        Right("publish", topology.unrouted): ("migrate",),
        Right("publish", topology.dead_letters): ("migrate",),
        Right("publish", events, "website.live"): ("worker", "ops"),
        Right("publish", commands, WEBSITE_CREATED): ("ops", "signup"),
        **{
            Right("publish", commands, COMMAND_PREFIX + trigger): ("ops",) if trigger in OF_PEOPLE else ()
            for trigger in Trigger
        },
    }


async def check_user(broker: Broker, topology: Topology) -> list[Finding]:
    """Return findings about the user of the broker's URL."""
    user, role = broker.user, role_of_user(broker.user)
    if role is None:
        have = f"{user or 'known by its certificate alone'}, none of the four users with the rights of one part"
        return [AREA.unknown(WHAT, have, THEN)]
    rights = rights_of_roles(topology)
    try:
        answers = await broker.has_rights(list(rights))
    except BrokerError as error:
        return [AREA.unknown(WHAT, f"{user}: {error}", "run the doctor again")]
    return list(_compare(user or "", role, dict(zip(rights, answers, strict=True)), rights))


def _compare(
    user: str, role: BrokerRole, found: Mapping[Right, bool | None], rights: Mapping[Right, Sequence[BrokerRole]]
) -> Iterator[Finding]:
    lacking = [str(right) for right, has in found.items() if has is False and role in rights[right]]
    excess = [str(right) for right, has in found.items() if has and role not in rights[right]]
    unasked = [str(right) for right, has in found.items() if has is None]
    if lacking:
        yield AREA.fail(WHAT, f"{user} may not {'; may not '.join(lacking)}", f"the rights of {role}", THEN)
    if excess:
        yield AREA.warn(WHAT, f"{user} may {'; may '.join(excess)}", f"the rights of {role} alone", THEN)
    if unasked:
        yield AREA.unknown(WHAT, f"{user}: not known whether it may {'; '.join(unasked)}", "run `provisioner init`")
    if not lacking and not excess and not unasked:
        yield AREA.ok(WHAT, f"{user}, with the rights of {role} and no more")
