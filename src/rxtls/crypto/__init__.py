"""Suites as one table, key schedules, opening and sealing a record, recrypt. Knows nothing of packets."""
