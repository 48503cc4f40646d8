"""The console: the page for ops and the JSON API, over the functions of `ops`. No worker imports it."""
