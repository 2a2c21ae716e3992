"""Real servers and real viewers on loopback, through the real proxy; what is missing fails, nothing is skipped."""
