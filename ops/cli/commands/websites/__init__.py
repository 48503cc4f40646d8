"""The commands of websites: signups, status, lists, verbs, failures, requeue."""
