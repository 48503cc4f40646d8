"""The rules of the protocol: the values that the service has, and the values that were tried and are wrong."""

from typing import Any

Rules = dict[str, Any]

RULES: Rules = {
    # ------------------------------------------------------------------------------- events and the next command
    # Events are published, and confirmed, before the command that follows from the same row.
    "event_before_command": True,
    # The column provisioning_published_seq is there.
    "published_seq": True,
    # The dispatcher publishes events too, not only commands. Implied by published_seq.
    "dispatcher_sends_events": True,
    # 'own': a worker publishes the event of its own row, and a command proves that one event published (decision 0010).
    # 'all': it publishes all that are unpublished, and a command proves all. Wrong: 'own, proves all'.
    "publishes": "own",
    # Wrong: instead of published_seq, an operator's command publishes the last row's event before its transaction.
    "operator_publishes_first": False,
    # The due time is cleared only where seq is still the one whose event was confirmed.
    "clear_compares_seq": True,
    # 'last': a redelivery publishes only while its row is the website's last. 'always' is wrong.
    "redelivery_publishes": "last",
    # Wrong: a redelivery publishes the command with the attempt of now instead of its row's.
    "redelivery_uses_attempt_of_now": False,
    # --------------------------------------------------------------------------------------------- fences
    # A message whose id is in the log has been carried out.
    "inbox": True,
    # Commands carry the attempt; a lower one is stale.
    "attempt_in_command": True,
    # Operators' commands carry the seq that they saw.
    "operator_command_has_seq": True,
    # A transient error of an operator's command does not ack it.
    "operator_command_kept_on_error": True,
    # ------------------------------------------------------------------------------------- website.created
    # Its data are stored in whatever transaction accounts for it.
    "created_is_stored": True,
    # What becomes of one that names another owner than the website has: it is rejected, as a dead letter. Wrong: 'row
    # wins' (it is acked, and nothing tells of it), 'message wins'.
    "contradiction": "reject",
    # It retries a website that failed for want of exactly its data.
    "created_retries_for_owner": True,
    # It takes the step that is due wherever on the chain nothing is under way for the website, not only at pending.
    "created_starts": True,
    # When something is under way for a website. 'due and ours': it has a due time, and its last log row led to its
    # state, or an attempt was counted. Wrong: 'due'; 'ours'; 'due and seq': it has a due time, and any log row; and
    # 'never', by which each website.created takes a step.
    "under_way": "due and ours",
    # What website.created does to a website under way: 'ack', or 'publish' its next command again.
    "created_under_way": "ack",
    # By whom the guards of the states before are proven before a step is taken. 'until ours': by every command, until a
    # transition of this service has led to the website's state. Wrong: 'created' (by website.created alone),
    # 'empty log' (by every command, while the log is empty), and 'never'.
    "guards_proven": "until ours",
    # A website that is held at ready is due nothing.
    "held_rests": True,
    # The due time is cleared only where the website still rests, and waits for no attempt.
    "clear_requires_rest": True,
}

AS_FIRST_WRITTEN: Rules = {
    **RULES,
    "event_before_command": False,
    "published_seq": False,
    "dispatcher_sends_events": False,
    "publishes": "all",
    "clear_compares_seq": False,
    "redelivery_publishes": "always",
    "attempt_in_command": False,
    "operator_command_has_seq": False,
    "operator_command_kept_on_error": False,
    "created_is_stored": False,
    "contradiction": "row wins",
    "created_retries_for_owner": False,
    "created_under_way": "publish",
    "created_starts": False,
    "guards_proven": "never",
}
"""The design before any of it was checked."""
