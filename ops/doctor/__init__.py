"""The doctor: checks settings, database, broker, workers and websites, and says what is wrong and what to do.

Reads only. Each check says what it read; one without the rights to says so.
"""
