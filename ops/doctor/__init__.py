"""The doctor: looks at settings, database, broker, workers and websites, and says what is wrong and what to do.

Reads only. Each check says what it looked at; one that may not know says so.
"""
