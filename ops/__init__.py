"""What operators do with the service: inspect, submit, requeue, redrive, replay, pause, install, demonstrate.

It moves no website itself.
"""
