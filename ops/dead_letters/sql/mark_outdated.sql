-- Marks the last reading of a queue as outdated: somebody is about to act on its dead letters.
UPDATE provisioning_dead_letter_readings SET outdated = true WHERE queue = $1
