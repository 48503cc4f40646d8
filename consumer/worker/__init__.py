"""The loops of one worker process: they receive deliveries, execute and settle them, and dispatch what is due."""
