-- Who has paused all workers, if somebody has.
SELECT actor, reason, since FROM provisioning_pauses WHERE worker = 'all'
