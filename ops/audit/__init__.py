"""The audit: who did what, how they proved who they are, to what, and what came of it; as lines and as rows."""
