"""The use case: lock the website, plan, take the step, judge, write. Read `use_case` first."""
