"""What can be seen from outside: instruments, logs and the probe. Owns prometheus-client."""
