"""Websites as tools see them: reads, forecasts, and the commands that people send."""
