"""Checks whether the database role has the rights of its part, and no more: the four of deploy/postgresql/roles.sql."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from consumer.store.database import Store
from ops.doctor.findings import Area, Finding
from seeders.sql_loader import read_statements

SQL = read_statements("ops.doctor.sql")

AREA = Area("database")
WHAT = "rights"
DatabaseRole = Literal["migrate", "worker", "ops", "reader"]
PREFIX = "provisioner_"
DATABASE_ROLES: Mapping[str, DatabaseRole] = {
    f"{PREFIX}migrate": "migrate", f"{PREFIX}worker": "worker", f"{PREFIX}ops": "ops", f"{PREFIX}reader": "reader",
}  # fmt: skip
THEN = "run deploy/postgresql/roles.sql as a superuser: it gives each role what it needs, and takes back the rest"

SEEDED = (
    "pwb_agencies", "pwb_links", "pwb_field_keys", "pwb_realty_assets", "pwb_sale_listings", "pwb_rental_listings"
)  # fmt: skip
OWN = (
    "provisioning_transitions", "provisioning_pruned", "provisioning_workers", "provisioning_pauses",
    "provisioning_migrations", "provisioning_rejections", "provisioning_dead_letters",
    "provisioning_dead_letter_readings",
)  # fmt: skip
WORKER = {
    "pwb_websites": "SELECT INSERT* UPDATE*",
    "pwb_users": "SELECT* INSERT*",
    "pwb_user_memberships": "SELECT INSERT UPDATE*",
    **dict.fromkeys(SEEDED, "SELECT INSERT"),
    "pwb_realty_assets": "SELECT INSERT UPDATE?",
    "pwb_features": "SELECT INSERT",
    "pwb_prop_photos": "SELECT INSERT",
    "provisioning_transitions": "SELECT INSERT",
    "provisioning_operator_actions": "SELECT*",
    "provisioning_workers": "SELECT INSERT UPDATE* DELETE",
    "provisioning_pauses": "SELECT DELETE",
    "provisioning_migrations": "SELECT",
    "provisioning_pruned": "SELECT",
    "provisioning_rejections": "SELECT INSERT UPDATE* DELETE",
}
READER = {
    "pwb_websites": "SELECT",
    "pwb_users": "SELECT*",
    "pwb_user_memberships": "SELECT",
    "pwb_subdomains": "SELECT",
    "pwb_features": "SELECT*",
    "pwb_prop_photos": "SELECT*",
    **dict.fromkeys(SEEDED, "SELECT"),
    "provisioning_operator_actions": "SELECT",
    "provisioning_action_items": "SELECT",
    **dict.fromkeys(OWN, "SELECT"),
}
OPS = READER | {
    "provisioning_sessions": "SELECT INSERT UPDATE DELETE",
    "provisioning_operator_actions": "SELECT INSERT* UPDATE*",
    "provisioning_action_items": "SELECT INSERT UPDATE*",
    "provisioning_pauses": "SELECT INSERT* DELETE",
    "provisioning_dead_letters": "SELECT INSERT DELETE",
    "provisioning_dead_letter_readings": "SELECT INSERT UPDATE",
}
RIGHTS: Mapping[DatabaseRole, Mapping[str, str]] = {"worker": WORKER, "ops": OPS, "reader": READER}
"""The rights of a role on each table that is there; with a star on some columns, with a question mark on some that only
the existing product has."""
ATTRIBUTES = {
    "superuser": "is a superuser", "create_role": "may make roles", "create_database": "may make databases",
    "bypass_rls": "bypasses row security", "create_in_schema": "may create in the schema",
}  # fmt: skip


async def role_of(store: Store) -> DatabaseRole | None:
    """Return the role of this session by its name; None for one that is none of the four."""
    async with store.connection() as connection:
        name: str = await connection.fetchval("SELECT current_user::text")
    return DATABASE_ROLES.get(name)


async def check_role(store: Store, role: DatabaseRole) -> list[Finding]:
    """Return findings about the rights of one of the four roles."""
    async with store.connection() as connection:
        attributes = await connection.fetchrow(SQL["role_attributes"])
        held = await connection.fetch(SQL["role_rights"], list(WORKER | OPS))
    lacking, excess = _compare(role, held)
    allowed = ("create_in_schema",) if role == "migrate" else ()
    excess += [text for name, text in ATTRIBUTES.items() if attributes[name] and name not in allowed]
    findings = []
    name = f"{PREFIX}{role}"
    if lacking:
        findings.append(AREA.fail(WHAT, f"{name} lacks {'; '.join(lacking)}", f"the rights of {role}", THEN))
    else:
        findings.append(AREA.ok(WHAT, f"all that {role} needs"))
    if excess:
        findings.append(AREA.warn("role", f"{name} has too much: {'; '.join(excess)}", f"those of {role} alone", THEN))
    return findings


def _compare(role: DatabaseRole, held: list[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """Return what a role lacks, and what it has too much, by all that it has on each table."""
    if role == "migrate":
        tables = dict.fromkeys(row["name"] for row in held if not row["owned"])
        return [f"the ownership of {name}" for name in tables], []
    lacking, excess = [], []
    for row in held:
        name, privilege = row["name"], row["privilege"]
        wanted = RIGHTS[role].get(name, "").split()
        if {privilege, f"{privilege}*", f"{privilege}?"} & set(wanted):
            if not row["on_some"] and f"{privilege}?" not in wanted:
                lacking.append(f"{privilege} on {name}")
            elif privilege not in wanted and row["on_all"]:
                excess.append(f"{privilege} on every column of {name}")
        elif row["on_some"]:
            excess.append(f"{privilege} on {name}")
    tables = dict.fromkeys(row["name"] for row in held if row["owned"])
    return lacking, [f"the ownership of {name}" for name in tables] or list(_brief(excess))


def _brief(texts: list[str], most: int = 12) -> Iterator[str]:
    yield from texts[:most]
    if len(texts) > most:
        yield f"and {len(texts) - most} more"
