-- The number of actions that match.
SELECT count(*) FROM provisioning_operator_actions AS a
{matching}