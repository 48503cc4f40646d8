"""What people do with the service: look, submit, requeue, and try it out. Writes nothing: it sends commands."""
